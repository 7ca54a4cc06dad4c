"""Compares the start-up time of ``python app.py`` to that of a hello-world Gradio app.

python benchmarks/start_up.py [--runs 5]
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
HELLO = """
import gradio as gr
with gr.Blocks(analytics_enabled=False) as demo:
    name = gr.Textbox(label="Name")
    name.submit(lambda n: f"Hello {n}", name, gr.Textbox(label="Greeting"))
demo.launch(ssr_mode=False, quiet=True)
"""


def seconds(command: list[str], folder: Path) -> float:
    """Returns the seconds until ``GET /`` and the page's configuration have answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "MODELS": "tiny-scenes",
        "PYTHONPATH": "",
    }
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while True:
            try:
                for path in ("", "config"):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
                        answer.read()
                return time.monotonic() - began
            except (urllib.error.URLError, OSError):
                if process.poll() is not None:
                    raise SystemExit(f"{command} ended with {process.returncode}") from None
                time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=5)
    args = ap.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        hello = Path(scratch) / "hello.py"
        hello.write_text(HELLO)
        apps = {"app.py": ([sys.executable, "app.py"], ROOT), "hello world": ([sys.executable, str(hello)], Path(scratch))}
        durations: dict[str, list[float]] = {name: [] for name in apps}
        for run in range(args.runs + 1):
            for name, (command, folder) in apps.items():
                duration = seconds(command, folder)
                if run:  # the first run fills the file cache
                    durations[name].append(duration)
        for name, values in durations.items():
            print(f"{name}: median {statistics.median(values):.2f} s of {', '.join(f'{v:.2f}' for v in values)}")
        ratio = statistics.median(durations["app.py"]) / statistics.median(durations["hello world"])
        print(f"ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
