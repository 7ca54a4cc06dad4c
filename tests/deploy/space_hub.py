"""A Hub on loopback that has Spaces.

Large and binary files of a commit through the API become pointers, and ``.gitattributes`` gets a line for them. After
a commit, ``/runtime`` tells the stages of ``coming`` one by one; at RUNNING the Space serves its new revision.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.deploy.fake_space import POINTER, FakeSpace, entry, git
from tests.spaces.fake_hub import NO_REPOSITORY, TOKEN, USER, FakeHub


class SpaceHub(FakeHub):
    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home
        self.spaces: dict[str, FakeSpace] = {}
        self.no_hardware: set[str] = set()  # what the account cannot pay
        self.publishers: set[str] = set()  # resources with a trusted publisher
        self.before_commit: Callable[[FakeSpace], object] = lambda space: None

    def answer(self, path: str, query: dict[str, list[str]], body: bytes, token: str) -> tuple[int, dict | list | str]:
        if found := re.fullmatch(r"/space/([^/]+/[^/]+)/healthz", path):
            space = self.spaces[found[1]]
            return (200, space.serving) if not space.private or token == TOKEN else (401, {})
        if path.startswith("/upload/") or path == "/api/validate-yaml" or path.endswith("/info/lfs/objects/batch"):
            return super().answer(path.removeprefix("/spaces"), query, body, token)
        if path == "/github":  # the identity that a runner gets for a job with id-token: write
            return (200, {"value": "a job of ada's"}) if token == "runner" else (401, {})
        if path == "/oauth/token":
            given = json.loads(body)
            trusted = given["subject_token"] == "a job of ada's" and given["resource"] in self.publishers
            return (
                (200, {"access_token": TOKEN, "expires_in": 3600}) if trusted else (403, {"error": "no trusted publisher"})
            )
        if token != TOKEN:
            return 401, {"error": "Invalid credentials in Authorization header"}
        if path == "/api/repos/create":
            return self.make(json.loads(body))
        found = re.fullmatch(r"/api/spaces/([^/]+/[^/]+?)(?:/(\w+)(?:/(\w+))?)?", path)
        assert found, path
        name, what, which = found.groups()
        if name not in self.spaces:
            return 404, NO_REPOSITORY
        given = json.loads(body) if body.startswith(b"{") and what != "commit" else {}
        return self.ask(self.spaces[name], name, what or "info", which, given, body)

    def make(self, given: dict) -> tuple[int, dict]:
        owner = given.get("organization") or USER
        name = f"{owner}/{given['name']}"
        if owner != USER:
            return 403, {"error": "You don't have the rights to create a Space there"}
        if given.get("hardware") in self.no_hardware:
            return 402, {"error": "creating a Space that runs on compute requires a paid plan"}
        folder = self.home / f"{given['name']}.git"
        host = f"{self.address}/space/{name}"
        self.spaces[name] = FakeSpace(folder, host, given.get("visibility") == "private", hardware=given.get("hardware"))
        return 200, {"url": f"{self.address}/spaces/{name}", "name": name}

    def ask(
        self, space: FakeSpace, name: str, what: str, which: str, given: dict, body: bytes
    ) -> tuple[int, dict | list | str]:
        if what == "info":
            return 200, {"id": name, "sha": space.sha, "private": space.private, "host": space.host, "tags": [], "likes": 0}
        if what == "runtime":
            return 200, {"stage": space.tell(), "hardware": {"current": space.hardware, "requested": space.hardware}}
        if what == "tree":
            return 200, [entry(path, content) for path, content in space.tree.items()]
        if what == "preupload":
            return 200, {"files": [self.mode(space, asked) for asked in given["files"]]}
        if what == "commit":
            return self.take(space, name, body)
        if what == "hardware":
            if given["flavor"] in self.no_hardware:
                return 402, {"error": "no payment method"}
            space.hardware = given["flavor"]
            return 200, {"stage": space.stage, "hardware": {"requested": space.hardware}}
        if what == "restart":
            space.build()
            return 200, {"stage": space.stage}
        assert what == "logs"
        lines = [{"data": f"{text}\n", "timestamp": "2026-01-01T00:00:00.000Z"} for text in space.logs.get(which, [])]
        return 200, "".join(f"data: {json.dumps(line)}\n\n" for line in lines)

    def mode(self, space: FakeSpace, asked: dict) -> dict:
        large = space.is_lfs(asked["path"]) or b"\0" in base64.b64decode(asked["sample"]) or asked["size"] > 10 << 20
        return {"path": asked["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}

    def take(self, space: FakeSpace, name: str, body: bytes) -> tuple[int, dict]:
        self.before_commit(space)
        head, *items = [json.loads(line) for line in body.splitlines()]
        if head["value"].get("parentCommit") != space.sha:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files, gone, attributes = {}, [], space.tree[".gitattributes"]
        for item in items:
            value = item["value"]
            if item["key"] == "deletedFile":
                gone.append(value["path"])
            elif item["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
                assert b"\0" not in files[value["path"]]
            else:
                files[value["path"]] = POINTER + f"oid sha256:{value['oid']}\nsize {value['size']}\n".encode()
                if not space.is_lfs(value["path"]):
                    attributes += f"{value['path']} filter=lfs diff=lfs merge=lfs -text\n".encode()
        if attributes != space.tree[".gitattributes"]:
            files[".gitattributes"] = attributes
        oid = space.commit(files, gone, head["value"]["summary"])
        space.build()
        return 200, {"commitUrl": f"{self.address}/spaces/{name}/commit/{oid}", "commitOid": oid}

    def check_out(self, name: str, folder: Path) -> None:
        """The Space's files as a container gets them: pointers that ``.gitattributes`` names are replaced."""
        space = self.spaces[name]
        git(self.home, "clone", "--quiet", "--depth=1", f"file://{space.folder}", str(folder))
        for path, content in space.tree.items():
            if space.is_lfs(path) and (oid := re.search(rb"oid sha256:(\w+)", content)):
                (folder / path).write_bytes(self.blobs[oid[1].decode()])
