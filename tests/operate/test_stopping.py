"""A host stops the app: running pictures are finished, the others are told, and nothing stays behind."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.operate.conftest import Running


@pytest.mark.slow
def test_sigterm_lets_running_pictures_end(start: Callable[..., Running]) -> None:
    app = start("spaces/text_to_image/app.py", MAX_ROWS="8")
    assert 503 in app.readiness[:-1], "it was ready before its model was"
    begun = threading.Event()

    def picture(seed: int) -> httpx.Response:
        return httpx.post(
            f"{app.address}/text-to-image", json={"prompt": "a red car", "steps": 60, "seed": seed}, timeout=120
        )

    def state() -> int:
        return httpx.get(f"{app.address}/healthz").json()["rows_in_batch"]

    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(picture, seed) for seed in range(24)]
        while not begun.is_set():
            if state() >= 2:
                begun.set()
            time.sleep(0.02)
        app.stop()
        time.sleep(0.2)
        ready = httpx.get(f"{app.address}/readyz")
        late = httpx.post(f"{app.address}/text-to-image", json={"prompt": "too late"})
        answers = [one.result() for one in asked]
    assert ready.status_code == 503 and ready.json() == {"status": "stopping"}
    assert late.status_code == 503 and "stopped" in late.json()["error"] and late.headers["retry-after"]
    statuses = [answer.status_code for answer in answers]
    done = [answer for answer in answers if answer.status_code == 200]
    assert set(statuses) == {200, 503}, statuses
    assert len(done) >= 1 and all(answer.content.startswith(b"\x89PNG") for answer in done)
    assert app.process.wait(60) == 0
    lines = [json.loads(line) for line in app.log().splitlines() if line.startswith("{")]
    ends = [line["outcome"] for line in lines if line["event"] == "picture"]
    assert ends.count("done") == len(done) and "failed" not in ends and "cancelled" not in ends
    assert next(line for line in lines if line["event"] == "stopped")["unanswered"] == 0
    left = [path for path in app.temporary.rglob("*") if path.is_file()]
    assert not left, left  # no picture, and no id file of onnxruntime's telemetry, which diffusers imports


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(start: Callable[..., Running]) -> None:
    app = start("spaces/text_to_image/app.py")
    with ThreadPoolExecutor(1) as pool:
        slow = {"prompt": "a red car", "steps": 150, "width": 256, "height": 256, "scheduler": "Heun"}
        asked = pool.submit(httpx.post, f"{app.address}/text-to-image", json=slow, timeout=120)
        while not httpx.get(f"{app.address}/healthz").json()["rows_in_batch"]:
            time.sleep(0.02)
        app.stop()
        while httpx.get(f"{app.address}/readyz").status_code == 200:
            time.sleep(0.02)
        app.stop()
        assert app.process.wait(60) == 0
        assert asked.exception() is not None or asked.result().status_code == 499
    assert '"outcome": "done"' not in app.log()
