"""A Space on loopback: a bare git repository whose hook refuses binary files, as the real one has, and its stages."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"  # the Hub has more of these
POINTER = b"version https://git-lfs.github.com/spec/v1\n"
HOOK = """#!{python}
import subprocess, sys
def git(*words): return subprocess.run(["git", *words], capture_output=True, check=True).stdout
for line in sys.stdin:
    new = line.split()[1]
    objects = git("rev-list", "--objects", new, "--not", "--all").decode().splitlines()
    named = [o.split(" ", 1) for o in objects if " " in o]
    bad = [n for o, n in named if n and git("cat-file", "-t", o) == b"blob\\n" and b"\\0" in git("cat-file", "blob", o)]
    if bad:
        sys.exit("Your push was rejected because it contains binary files. Offending files: " + " ".join(sorted(bad)))
"""
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
GIT |= {f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(folder: Path, *words: str, given: bytes | None = None) -> str:
    run = subprocess.run(["git", *words], cwd=folder, env=os.environ | GIT, input=given, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode().strip()


@dataclass
class FakeSpace:
    """One Space; ``tree`` is what its git has, pointers for what is LFS."""

    folder: Path
    host: str
    private: bool = False
    tree: dict[str, bytes] = field(default_factory=dict)
    stage: str = "NO_APP_FILE"
    hardware: str | None = None
    coming: list[str] = field(default_factory=lambda: ["BUILDING", "RUNNING"])
    logs: dict[str, list[str]] = field(default_factory=dict)
    serving: dict = field(default_factory=dict)
    built: Callable[[FakeSpace], None] | None = None  # called after a commit; it then sets stage and logs itself
    _next: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        git(self.folder.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(self.folder))
        hook = self.folder / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(HOOK.format(python=sys.executable))
        hook.chmod(0o755)
        self.commit({".gitattributes": ATTRIBUTES, "README.md": b"---\nsdk: gradio\n---\n"}, [], "initial commit")

    @property
    def sha(self) -> str:
        return git(self.folder, "rev-parse", "main")

    @property
    def commits(self) -> list[str]:
        """Titles, the oldest first."""
        return git(self.folder, "log", "--reverse", "--format=%s", "main").splitlines()

    def commit(self, files: dict[str, bytes], gone: list[str], title: str) -> str:
        start = "from refs/heads/main^0\n" if self.tree else ""
        stream = f"commit refs/heads/main\ncommitter ada <a> now\ndata {len(title.encode())}\n{title}\n{start}".encode()
        for path, content in files.items():
            stream += f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
        stream += b"".join(f"D {path}\n".encode() for path in gone)
        git(self.folder, "fast-import", "--quiet", "--date-format=now", given=stream)
        self.tree |= files
        for path in gone:
            del self.tree[path]
        return self.sha

    def is_lfs(self, path: str) -> bool:
        patterns = [line.split()[0] for line in self.tree[".gitattributes"].decode().splitlines()]
        return any(fnmatch.fnmatch(path, p) or fnmatch.fnmatch(path.rsplit("/")[-1], p) for p in patterns)

    def build(self) -> None:
        """As a commit or a factory reboot starts it."""
        if self.built:
            self.built(self)
        else:
            self._next = list(self.coming)

    def tell(self) -> str:
        """The stage: the one before the commit once more, then those that come."""
        told = self.stage
        if self._next:
            self.stage = self._next.pop(0)
            if self.stage == "RUNNING":
                self.serving = {"status": "ready", "revision": self.tree["REVISION"].decode().strip()}
        return told


def entry(path: str, content: bytes) -> dict:
    """A file as ``/tree`` lists it."""
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    found: dict = {"type": "file", "path": path, "size": len(content), "oid": oid}
    if content.startswith(POINTER):
        sha, size = re.findall(rb"(?:oid sha256:|size )(\w+)", content)
        found["lfs"] = {"oid": sha.decode(), "size": int(size), "pointerSize": len(content)}
    return found
