"""An app in a process of its own, as a host starts it, with a temporary folder that is its alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent
TOKEN = "a-token-of-the-tests"


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    address: str
    temporary: Path
    errors: Path
    readiness: list[int] = field(default_factory=list)  # statuses of /readyz until it was 200

    def stop(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def log(self) -> str:
        return self.errors.read_text()

    def metrics(self) -> str:
        return httpx.get(f"{self.address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).text


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Running]]:
    """``start("app.py")`` waits until it is ready."""
    started: list[Running] = []

    def begin(program: str, **variables: str) -> Running:
        home = tmp_path_factory.mktemp("app")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (home / "tmp").mkdir()
        own = {"TMPDIR": str(home / "tmp"), "DATA_FOLDER": str(home / "data"), "GRADIO_SERVER_PORT": str(port)}
        own |= {"METRICS_TOKEN": TOKEN, "LOG_FORMAT": "json", "MODELS": "tiny-scenes", "GRADIO_SERVER_NAME": "127.0.0.1"}
        kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "GRADIO_TEMP_DIR")}
        errors = home / "errors"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, program], cwd=ROOT, env=kept | own | variables, stdout=subprocess.DEVNULL, stderr=file
            )
        found = Running(process, f"http://127.0.0.1:{port}", home / "tmp", errors)
        started.append(found)
        deadline = time.monotonic() + 300
        while found.readiness[-1:] != [200]:
            assert process.poll() is None and time.monotonic() < deadline, found.log()
            with suppress(httpx.TransportError):  # not up yet
                found.readiness.append(httpx.get(f"{found.address}/readyz", timeout=30).status_code)
            time.sleep(0.05)
        return found

    yield begin
    for one in started:
        one.process.kill()
        one.process.wait()
