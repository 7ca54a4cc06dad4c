"""A result to a Hub on loopback: what arrives there, what is refused, and that the token is in no message."""

from __future__ import annotations

import importlib
import json
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from huggingface_hub import constants

from lib.convert.worker import entrypoints, package
from lib.errors import InvalidValue, JobFailed
from lib.onnx_inspect.examples import EXAMPLES
from tests.spaces.fake_hub import TOKEN, FakeHub, Repository, serve
from web.shell import load_tab

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def hub() -> ModuleType:
    load_tab(ROOT / "spaces" / "convert")
    return importlib.import_module("tab_convert.hub")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # loopback is not the network
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # plain LFS; a fake of Xet's storage proves nothing of ours
    with serve() as server:
        yield server


def outcome(hub: ModuleType, folder: Path, verdict: str = "proven"):  # type: ignore[no-untyped-def]
    """As the converter packs one."""
    side = {"format": "onnx-fp16", "title": "ONNX, float16", "bytes": 1, "median_ms": None, "inputs": [], "outputs": []}
    report = {"verdict": verdict, "reason": "so it is", "source": side, "target": side, "route": [], "messages": []}
    report |= {"versions": {"onnx": "1"}, "seeds": [0, 1, 2]}
    made, out = folder / "artifact", folder / "out"
    made.mkdir()
    out.mkdir()
    (made / "model.onnx").write_bytes(EXAMPLES["digits"]().SerializeToString())
    report["target"] = side | {"files": entrypoints.digests(made)}
    found = package.pack("onnx-fp16", str(made), report, "digits", str(out))
    paths = {k: str(out / v) if v else None for k, v in found.items()}
    return importlib.import_module("tab_convert.subject").Outcome.of(str(out), {"report": report} | paths)


def test_a_new_repository(hub: ModuleType, there: FakeHub, tmp_path: Path) -> None:
    result = outcome(hub, tmp_path)
    address = hub.push(result, TOKEN, " ada/digits ", endpoint=there.address)
    assert address == f"{there.address}/ada/digits"
    found = there.repositories["ada/digits"]
    assert found.private and set(found.files) == {"digits-fp16.onnx", "report.json", "README.md"}
    with zipfile.ZipFile(result.package) as archive:
        assert found.files["digits-fp16.onnx"] == archive.read("digits-fp16.onnx")
    assert json.loads(found.files["report.json"])["verdict"] == "proven"
    card = found.files["README.md"].decode()
    assert card.startswith("---\ntags:") and "**Proven.** so it is" in card
    with pytest.raises(JobFailed, match="ada/digits exists already"):
        hub.push(result, TOKEN, "ada/digits", endpoint=there.address)


def test_a_pull_request(hub: ModuleType, there: FakeHub, tmp_path: Path) -> None:
    there.repositories["lab/model"] = Repository(files={"README.md": b"theirs"})
    address = hub.push(outcome(hub, tmp_path), TOKEN, "lab/model", hub.PULL, folder="onnx/", endpoint=there.address)
    assert address == f"{there.address}/lab/model/discussions/1"
    assert set(there.repositories["lab/model"].pulls[0]) == {"onnx/digits-fp16.onnx", "onnx/report.json", "onnx/README.md"}
    assert there.repositories["lab/model"].files == {"README.md": b"theirs"}


def test_only_what_is_proven_unless_it_is_wanted(hub: ModuleType, there: FakeHub, tmp_path: Path) -> None:
    result = outcome(hub, tmp_path, "failed")
    with pytest.raises(JobFailed, match="This result is failed"):
        hub.push(result, TOKEN, "ada/digits", endpoint=there.address)
    assert there.calls == []
    hub.push(result, TOKEN, "ada/digits", anyway=True, endpoint=there.address)
    assert "digits-fp16.unproven.onnx" in there.repositories["ada/digits"].files


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        (None, ""),
        ("digits", ""),
        ("ada/", ""),
        ("a/b/c", ""),
        ("../etc", ""),
        ("ada/digits.git", ""),
        ("https://huggingface.co/ada/digits", ""),
        ("ada/digits", "../up"),
        ("ada/digits", ".git/hooks"),
        ("ada/digits", "a//b"),
        ("ada/digits", "a\\b"),
    ],
)
def test_names_are_checked_before_anything_is_sent(
    hub: ModuleType, there: FakeHub, tmp_path: Path, name: str | None, folder: str
) -> None:
    with pytest.raises(InvalidValue, match=r"(repository|folder) was"):
        hub.push(outcome(hub, tmp_path), TOKEN, name, folder=folder, endpoint=there.address)
    assert there.calls == []


def test_what_the_hub_refuses_is_said_without_the_token(hub: ModuleType, there: FakeHub, tmp_path: Path) -> None:
    result = outcome(hub, tmp_path)
    wrong = "hf_wrong" + "1" * 30
    for token, name, how, words in [
        (wrong, "ada/digits", hub.NEW, "does not accept your sign-in"),
        (TOKEN, "lab/digits", hub.NEW, "may not write to lab/digits"),
        (TOKEN, "lab/nothing", hub.PULL, "no repository lab/nothing"),
        (None, "ada/digits", hub.NEW, "not signed in"),
    ]:
        with pytest.raises(JobFailed, match=words) as caught:
            hub.push(result, token, name, how, endpoint=there.address)
        _no_secret(caught.value, wrong)
    there.broken = True
    with pytest.raises(JobFailed, match=r"error \(500\).*ada/digits was created and is empty") as caught:
        hub.push(result, TOKEN, "ada/digits", endpoint=there.address)
    _no_secret(caught.value, TOKEN)
    with pytest.raises(JobFailed, match="failed") as caught:
        hub.push(result, TOKEN, "ada/other", endpoint="http://127.0.0.1:9")
    _no_secret(caught.value, TOKEN)


def _no_secret(error: BaseException, secret: str) -> None:
    assert secret not in "".join(traceback.format_exception(error)) and secret not in repr(error.args)


def test_nothing_to_push(hub: ModuleType, there: FakeHub) -> None:
    with pytest.raises(JobFailed, match="Convert a model first"):
        hub.push(None, TOKEN, "ada/digits", endpoint=there.address)


def test_sign_in_is_offered_on_a_space_with_oauth_only(hub: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not hub.can_sign_in()
    monkeypatch.setattr(hub.oauth, "get_space", lambda: "ada/space")
    assert not hub.can_sign_in()
    monkeypatch.setattr(hub.oauth, "OAUTH_CLIENT_ID", "an id")
    assert hub.can_sign_in() == all(importlib.util.find_spec(n) for n in ("authlib", "itsdangerous"))
