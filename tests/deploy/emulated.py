"""A Space as a container runs it: the pushed tree in an empty folder, its requirements, and its card's app_file.

Stricter than the real one, which installs gradio and a few more besides.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2

from tests.deploy.fake_space import FakeSpace
from tests.deploy.space_hub import SpaceHub
from tests.spaces.test_alone import free_port


class Emulated:
    """``built`` of a FakeSpace: builds and runs what was committed, and tells stages and logs of what happens."""

    def __init__(self, hub: SpaceHub, name: str, home: Path, *, fresh: bool) -> None:
        """``fresh``: a new virtual environment with nothing but requirements.txt; else the running interpreter's."""
        self.hub, self.name, self.home, self.fresh = hub, name, home, fresh
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = home  # of the build that runs
        self.port = free_port()  # a Space keeps its address
        hub.spaces[name].host = f"http://127.0.0.1:{self.port}"
        hub.spaces[name].built = self
        self._count = 0

    def __call__(self, space: FakeSpace) -> None:
        space.stage = "BUILDING" if self.process is None else "RUNNING_BUILDING"
        threading.Thread(target=self._run, args=[space], daemon=True).start()

    def _run(self, space: FakeSpace) -> None:
        try:
            self._build(space)
        except BaseException:
            space.stage = "CONFIG_ERROR"  # nobody waits for it
            raise

    def _build(self, space: FakeSpace) -> None:
        self._count += 1
        self.folder = self.home / f"build-{self._count}"
        self.hub.check_out(self.name, self.folder / "app")
        python = self._install(space)
        if python is None:
            space.stage = "BUILD_ERROR"
            return
        self.close()  # the old container goes when the new one is built
        space.stage = "APP_STARTING"
        card = (self.folder / "app" / "README.md").read_text()
        script = re.search(r"^app_file: (.+)$", card, re.M)
        assert script
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [python, script[1]], cwd=self.folder / "app", env=self._environment(card), stdout=log, stderr=log
            )
        while self.process.poll() is None:
            try:
                httpx2.get(f"{space.host}/", timeout=10)
                space.stage = "RUNNING"
                return
            except httpx2.TransportError:
                time.sleep(0.2)
        space.stage, space.logs["run"] = "RUNTIME_ERROR", (self.folder / "log").read_text().splitlines()

    def _install(self, space: FakeSpace) -> str | None:
        if not self.fresh:
            return sys.executable
        environment = self.folder / "environment"
        python = str(environment / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        words = [python, "-m", "pip", "install", "--quiet", "-r", "requirements.txt"]
        run = subprocess.run(words, cwd=self.folder / "app", capture_output=True, text=True, check=False)
        space.logs["build"] = (run.stdout + run.stderr).splitlines()
        return python if run.returncode == 0 else None

    def _environment(self, card: str) -> dict[str, str]:
        for name in ("home", "tmp"):
            (self.folder / name).mkdir()
        found = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        found |= {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp"), "PYTHONUNBUFFERED": "1"}
        found |= {"SYSTEM": "spaces", "SPACE_ID": self.name, "SPACE_HOST": self.name.replace("/", "-") + ".hf.space"}
        found |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(self.port), "HF_HUB_OFFLINE": "1"}
        found |= {"CPU_CORES": "2", "MEMORY": "16Gi", "MODELS": "tiny-scenes"}
        if "\nhf_oauth: true\n" in card:
            found |= {"OAUTH_CLIENT_ID": "id", "OAUTH_CLIENT_SECRET": "secret", "OAUTH_SCOPES": "openid profile"}
            found |= {"OPENID_PROVIDER_URL": self.hub.address}
        return found

    def close(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=60)
