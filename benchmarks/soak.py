"""Soak test: runs 64 clients of all kinds against the app, and checks that no response is missing or wrong.

    python benchmarks/soak.py --seconds 1800 [--clients 64] [--report soak.json]

The app runs as a separate process with folders of its own. Every response is compared to that of the same request
sent before without load (``soak_clients.py``). The exit status is 0 if no response was lost, wrong or missing, memory
was flat after the first five minutes (not checked in shorter runs), open files and threads returned to their initial
number, and SIGTERM ended the app cleanly. docs/operate.md has the results of 30 minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.soak_clients import references, start_clients  # noqa: E402
from benchmarks.soak_known import Soak  # noqa: E402
from lib.settings import Settings  # noqa: E402

TOKEN = "soak"
SETTLED = 300.0  # seconds after which memory must be flat
FLAT = 1.05  # allowed growth factor since then
SLACK = {"files": 4, "threads": 4 + (os.cpu_count() or 1) + 4}  # allowed increase; asyncio keeps a thread per core plus four
IDLE_SECONDS = 45.0  # time for files and threads to be released
COMPILED = 300.0  # seconds to wait for the compiled UNet: OpenVINO starts threads that stay


class App:
    """``python app.py`` on a free port, with a temporary folder of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address, self.temporary, self.errors = f"http://127.0.0.1:{port}", home / "tmp", home / "log"
        self.temporary.mkdir()
        self._compiled = home / "data" / "compiled"
        env = {"TMPDIR": str(self.temporary), "DATA_FOLDER": str(home / "data"), "GRADIO_SERVER_PORT": str(port)}
        env |= {"METRICS_TOKEN": TOKEN, "LOG_FORMAT": "json", "MODELS": "tiny-scenes", "GRADIO_SERVER_NAME": "127.0.0.1"}
        with self.errors.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=file
            )

    def wait(self) -> None:
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"The app did not start:\n{self.errors.read_text()}")
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.address}/readyz", timeout=30).status_code == 200:
                    break
            time.sleep(0.5)
        deadline = time.monotonic() + COMPILED
        while Settings.from_environment().compile_unet and time.monotonic() < deadline:
            if any(len(path.name.partition("-")[0]) == 16 for path in self._compiled.glob("*.xml")):
                return
            time.sleep(0.5)

    def sample(self) -> dict[str, float]:
        """Returns memory in MB, threads and open files of the app's process, and the number of its children."""
        home = Path("/proc") / str(self.process.pid)
        status = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines())
        children = (home / "task" / str(self.process.pid) / "children").read_text().split()
        return {
            "mb": int(status["VmRSS"].split()[0]) / 1024,
            "threads": int(status["Threads"]),
            "files": len(list((home / "fd").iterdir())),
            "children": len(children),
        }

    def metric(self, name: str) -> float:
        """Returns the sum of a metric over its labels."""
        text = httpx.get(f"{self.address}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    def unexpected(self) -> list[str]:
        """Returns log lines with level error or critical."""
        lines = [json.loads(line) for line in self.errors.read_text().splitlines() if line.startswith("{")]
        return [json.dumps(line) for line in lines if line["level"] in ("error", "critical")]

    def stop(self) -> int | None:
        """Sends SIGTERM. Returns the exit status, None if the app had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None


def flat(samples: list[tuple[float, float]]) -> float | None:
    """Returns the ratio of memory in the last two minutes to that in minutes five to seven.

    None if the run was too short.
    """
    first = [mb for when, mb in samples if SETTLED <= when < SETTLED + 120]
    last = [mb for when, mb in samples if when >= samples[-1][0] - 120]
    if samples[-1][0] < SETTLED + 240:
        return None
    return statistics.median(last) / statistics.median(first)


async def load(app: App, seconds: float, clients: int) -> dict[str, Any]:
    soak = Soak(app.address)
    print("Asking everything alone, once …", flush=True)
    await references(soak)
    begun, before = time.monotonic(), app.sample()
    soak.until, samples = begun + seconds, []
    print(f"{clients} clients for {seconds:.0f} seconds …", flush=True)
    tasks = start_clients(soak, clients)
    peaks = dict(before)
    while time.monotonic() < soak.until:
        await asyncio.sleep(min(5.0, max(0.1, soak.until - time.monotonic())))
        now = app.sample()
        samples.append((time.monotonic() - begun, now["mb"]))
        peaks = {name: max(peaks[name], now[name]) for name in peaks}
    await asyncio.gather(*tasks)
    after = app.sample()
    deadline = time.monotonic() + IDLE_SECONDS
    while any(after[name] > before[name] + slack for name, slack in SLACK.items()) and time.monotonic() < deadline:
        await asyncio.sleep(1)
        app.metric("workbench_ready")  # the server only releases idle threads when it gets a request
        after = app.sample()
    return {
        "seconds": seconds,
        "clients": clients,
        "answers": soak.counted(),
        "faults": soak.faults,
        "before": before,
        "most": peaks,
        "after": after,
        "growth": flat(samples),
        "memory": [(round(when), round(mb)) for when, mb in samples],
        "sessions": app.metric("workbench_gradio_sessions"),
        "pictures": app.metric("workbench_requests_total"),
    }


def judged(found: dict[str, Any]) -> list[str]:
    """Returns descriptions of all failures."""
    wrong = [f"{kind}: {words}" for kind, words in found["faults"]]
    if found["growth"] is not None and found["growth"] > FLAT:
        wrong.append(f"memory grew by {found['growth'] - 1:.1%} after the first five minutes")
    for name, slack in SLACK.items():
        if found["after"][name] > found["before"][name] + slack:
            wrong.append(f"{name}: {found['before'][name]} before, {found['after'][name]} after")
    wrong += [f"in the log: {line}" for line in found["log"]]
    wrong += [f"left in the temporary folder: {name}" for name in found["left"]]
    if found["status"] != 0:
        wrong.append(f"SIGTERM ended the app with {found['status']}")
    silent = [kind for kind, counts in found["answers"].items() if not sum(counts.values())]
    return wrong + [f"{kind}: not one answer" for kind in silent]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--report", type=Path, help="where the figures go as JSON")
    options = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True)))
        app = App(home)
        stack.callback(app.process.kill)
        app.wait()
        results = asyncio.run(load(app, options.seconds, options.clients))
        results["log"] = app.unexpected()
        results["status"] = app.stop()
        results["left"] = [str(path.relative_to(app.temporary)) for path in app.temporary.rglob("*") if path.is_file()]
    wrong = judged(results)
    print(json.dumps({name: value for name, value in results.items() if name not in ("memory", "faults")}, indent=1))
    if options.report:
        options.report.write_text(json.dumps(results | {"wrong": wrong}, indent=1))
    print("\n".join(wrong) or "Nothing lost, nothing wrong, nothing unanswered, nothing left.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
