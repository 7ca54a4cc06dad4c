"""A Hub with Spaces, and a small repository with ``spaces/deploy.py`` in it that is deployed there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.fake_space import GIT, git
from tests.deploy.space_hub import SpaceHub
from tests.spaces.fake_hub import TOKEN, serve

ROOT = Path(__file__).parent.parent.parent
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
FILES = {
    "README.md": b"---\nsdk: gradio\napp_file: app.py\n---\n![a picture](docs/a.png)\n",
    "requirements.txt": b"gradio\n",
    "requirements-dev.txt": b"pytest\n",
    ".gitignore": b"*.pyc\n",
    "LICENSE": b"as you like\n",
    "app.py": b"import web.shell\n",
    "docs/a.png": PNG,
    "tests/test_it.py": b"",
    "web/shell.py": b"import lib.settings\n",
    "web/page.js": b"//\n",
    "web/other.py": b"import lib.second.tasks\n",
    "lib/first/__init__.py": b"",
    "lib/first/tasks.py": b"from lib.settings import EMBEDDED_FOLDER\n",
    "lib/second/tasks.py": b"from models.tiny_scenes.pen import line\n",
    "lib/second/data.csv": b"1,2\n",
    "models/tiny_scenes/pen.py": b"",
    "models/tiny_scenes/train.py": b"import lib.first\n",
    "models/tiny_scenes/weights/unet.safetensors": b"weights",
}
FILES |= {f"spaces/{tab}/README.md": f"---\nsdk: gradio\n---\n# {tab}\n".encode() for tab in ("draw", "look")}
FILES |= {f"spaces/{tab}/requirements.txt": f"{tab}\n".encode() for tab in ("draw", "look")}
FILES |= {"spaces/draw/app.py": b"from web.shell import main\nTASKS = 'lib.first.tasks'\n"}
FILES |= {"spaces/look/app.py": b"from web.shell import main\n\ndef f():\n    from lib.second import tasks\n"}


@dataclass
class Repository:
    folder: Path
    environment: dict[str, str]

    def write(self, title: str, **files: bytes) -> str:
        """Commits ``files``; the commit's id."""
        for path, content in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(content)
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "-m", title)
        return git(self.folder, "rev-parse", "HEAD")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=3600, check=False
        )

    def deploy(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "spaces/deploy.py", *words)


def environment(hub: SpaceHub, home: Path) -> dict[str, str]:
    """Of somebody who is logged in to ``hub``."""
    own = {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "0"}
    return os.environ | GIT | own | {"HF_HUB_DISABLE_XET": "1"}  # plain LFS: a fake of Xet's storage proves nothing


def repository(hub: SpaceHub, home: Path, files: dict[str, bytes]) -> Repository:
    found = Repository(home / "repository", environment(hub, home))
    found.folder.mkdir()
    for name in ("__init__.py", "errors.py", "settings.py", "deploy"):
        source, target = ROOT / "lib" / name, found.folder / "lib" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    (found.folder / "spaces").mkdir()
    shutil.copy(ROOT / "spaces" / "deploy.py", found.folder / "spaces" / "deploy.py")
    git(found.folder, "init", "--quiet", "--initial-branch=main")
    found.write("The app", **files)
    return found


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[SpaceHub]:
    (tmp_path / "hub").mkdir()
    with serve(SpaceHub(tmp_path / "hub")) as server:
        assert isinstance(server, SpaceHub)
        yield server


@pytest.fixture
def here(hub: SpaceHub, tmp_path: Path) -> Repository:
    return repository(hub, tmp_path, FILES)
