"""A tab folder on its own: as a script in the repository, and staged as a Space."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from lib.onnx_inspect.examples import EXAMPLES

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


TABS = ("text_to_image", "onnx_inspect", "convert", "train")
HOWS = [
    pytest.param("text_to_image", "whole app", marks=pytest.mark.slow),  # tests/operate starts it too
    ("text_to_image", "script"),
    *((tab, "staged") for tab in TABS),
    *(pytest.param(tab, "script", marks=pytest.mark.slow) for tab in TABS[1:]),  # staged, the same script runs in a copy
]


@pytest.mark.parametrize(("tab", "how"), HOWS)
def test_it_serves(tab: str, how: str, tmp_path: Path) -> None:
    folder, script = ROOT, "app.py" if how == "whole app" else f"spaces/{tab}/app.py"
    if how == "staged":
        folder = tmp_path / "space"
        subprocess.run([sys.executable, "spaces/stage.py", tab, str(folder)], cwd=ROOT, check=True)
        assert {"README.md", "requirements.txt", "lib", "web"} <= {p.name for p in folder.iterdir()}
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "GRADIO_SERVER_PORT": str(port),
        "MODELS": "tiny-scenes",
        "DATA_FOLDER": str(tmp_path / "data"),
        "GRADIO_TEMP_DIR": str(tmp_path / "gradio"),
        "HF_HUB_OFFLINE": "1",
    }
    process = subprocess.Popen([sys.executable, script], cwd=folder, env=environment)
    try:
        deadline = time.monotonic() + 300
        while True:
            assert process.poll() is None and time.monotonic() < deadline
            try:
                if httpx.get(f"http://127.0.0.1:{port}/healthz").json()["status"] == "ready":
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        if "onnx" in tab or how == "whole app":
            model = EXAMPLES["linear"]().SerializeToString()
            report = httpx.post(f"http://127.0.0.1:{port}/inspect-onnx", content=model, timeout=60).json()
            assert report["valid"] and report["macs"] == 12
            if how != "whole app":
                return
        if tab == "convert" or how == "whole app":
            assert httpx.get(f"http://127.0.0.1:{port}/conversions", timeout=60).json()[0]["source"]
            if how != "whole app":
                return
        if tab == "train" or how == "whole app":
            visitor = {"visitor": "nobody was here before"}
            assert httpx.get(f"http://127.0.0.1:{port}/runs", params=visitor, timeout=60).json() == []
            assert "train-stage" in httpx.get(f"http://127.0.0.1:{port}/config", timeout=60).text
            if how != "whole app":
                return
        answer = httpx.get(f"http://127.0.0.1:{port}/text-to-image", params={"prompt": "a red car", "steps": 2}, timeout=60)
        assert answer.status_code == 200 and answer.content.startswith(b"\x89PNG")
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_bad_setting_is_told_before_anything_starts() -> None:
    run = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | {"QUEUE_SIZE": "none"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2 and "QUEUE_SIZE was 'none'" in run.stderr and "Traceback" not in run.stderr
