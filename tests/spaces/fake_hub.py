"""A Hub on loopback: the calls that a push makes, for one signed-in user. Keeps files and pull requests in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN, USER = "hf_fake" + "0" * 30, "ada"
NO_REPOSITORY = {"error": "Repository not found"}
TEXTS = (".md", ".json", ".txt", ".py")  # the Hub takes these as they are, and everything else as LFS


@dataclass
class Repository:
    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    pulls: list[dict[str, bytes]] = field(default_factory=list)


class FakeHub:
    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.broken = False  # commits answer 500, with everything it was sent in its words
        self.address = ""

    def answer(self, path: str, query: dict[str, list[str]], body: bytes, token: str) -> tuple[int, dict | list | str]:
        """Status and what is sent: text as a stream of events, and everything else as JSON."""
        if path.startswith("/upload/"):
            oid = path.removeprefix("/upload/")
            assert hashlib.sha256(body).hexdigest() == oid
            self.blobs[oid] = body
            return 200, {}
        if token != TOKEN:
            return 401, {"error": f"Invalid credentials: {token}"}
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            good = json.loads(body)["content"].startswith("---\n")
            return (200 if good else 400), {"errors": [] if good else [{"message": "no front matter"}], "warnings": []}
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return 200, {"transfer": "basic", "objects": [self.upload(o) for o in json.loads(body)["objects"]]}
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path)
        if found is None:
            return 404, {"error": f"no such call: {path}"}
        name, what = found.groups()
        pull = query.get("create_pr") == ["1"]
        if name not in self.repositories:
            return 404, NO_REPOSITORY
        if not pull and not name.startswith(f"{USER}/"):
            return 403, {"error": "Forbidden"}
        if what == "preupload":
            modes = [(f["path"], "regular" if f["path"].endswith(TEXTS) else "lfs") for f in json.loads(body)["files"]]
            return 200, {"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes]}
        return self.commit(name, body, pull)

    def create(self, given: dict) -> tuple[int, dict]:
        owner = given.get("organization") or USER
        name = f"{owner}/{given['name']}"
        if owner != USER:
            return 403, {"error": "Forbidden"}
        if name in self.repositories:
            return 409, {"error": "You already created this model repo", "url": f"{self.address}/{name}"}
        self.repositories[name] = Repository(private=given.get("visibility") == "private")
        return 200, {"url": f"{self.address}/{name}", "name": name}

    def upload(self, asked: dict) -> dict:
        return asked | {"actions": {"upload": {"href": f"{self.address}/upload/{asked['oid']}", "header": {}}}}

    def commit(self, name: str, body: bytes, pull: bool) -> tuple[int, dict]:
        if self.broken:
            return 500, {"error": f"Something broke for {TOKEN}"}
        files = {}
        for line in body.splitlines():
            item = json.loads(line)
            if item["key"] == "file":
                files[item["value"]["path"]] = base64.b64decode(item["value"]["content"])
            elif item["key"] == "lfsFile":
                files[item["value"]["path"]] = self.blobs[item["value"]["oid"]]
        repository = self.repositories[name]
        if pull:
            repository.pulls.append(files)
        else:
            repository.files |= files
        number = len(repository.pulls)
        return 200, {
            "commitUrl": f"{self.address}/{name}/commit/{'0' * 40}",
            "commitOid": "0" * 40,
            "pullRequestUrl": f"{self.address}/{name}/discussions/{number}" if pull else None,
        }


@contextmanager
def serve(hub: FakeHub | None = None) -> Iterator[FakeHub]:
    hub = hub or FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts, token = urlsplit(self.path), (self.headers.get("authorization") or "").removeprefix("Bearer ")
            hub.calls.append(f"{self.command} {parts.path}")
            status, found = hub.answer(parts.path, parse_qs(parts.query), body, token)
            text = (found if isinstance(found, str) else json.dumps(found)).encode()
            self.send_response(status)
            self.send_header("content-type", "text/event-stream" if isinstance(found, str) else "application/json")
            self.send_header("content-length", str(len(text)))
            if found == NO_REPOSITORY:
                self.send_header("x-error-code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
