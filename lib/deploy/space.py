"""The Space's repository: what differs from ours, and one commit that makes it the same.

One commit, because a Space builds at every commit: ``hf upload`` cuts many files into several, and the Space is broken
between the first and the last. The Hub's hook refuses binary files that a plain ``git push`` of this history brings;
``create_commit`` uploads them beside the commit, so the history stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OIDCError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile, SpaceInfo

from lib.deploy import DeploymentFailed
from lib.deploy.tree import Files
from lib.errors import InvalidValue

KEPT = ".gitattributes"  # the Hub's own: without it a Space would check out pointers instead of weights
ZERO_GPU = "zero-a10g"  # the Hub's name for ZeroGPU, whatever GPU it lends


@dataclass(frozen=True, slots=True)
class Difference:
    """Paths, sorted. ``new`` and ``changed`` go up, ``gone`` is deleted."""

    new: list[str]
    changed: list[str]
    gone: list[str]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)


class Space:
    """One Space of the Hub that ``huggingface_hub`` is set to, with its token."""

    def __init__(self, name: str) -> None:
        """``name``: ``owner/name``; anything else raises InvalidValue."""
        if name.count("/") != 1:
            raise InvalidValue("space", name, "owner/name")
        self.name = name
        self.api = HfApi()
        self.info: SpaceInfo | None = None  # None: there is no such Space, or not for this token

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turns what the Hub and the network say into DeploymentFailed."""
        try:
            yield
        except HFValidationError:
            raise InvalidValue("space", self.name, "owner/name, of letters, digits, '-', '_' and '.'") from None
        except HfHubHTTPError as error:
            raise DeploymentFailed(self._refusal(error)) from error
        except httpx2.HTTPError as error:
            raise DeploymentFailed(f"The Hub cannot be reached ({type(error).__name__}). Try again.") from error
        except OIDCError as error:
            raise DeploymentFailed(
                f"The Hub gave no token to this workflow: {error}. Check the Space's trusted publisher."
            ) from error
        except ValueError as error:  # the card, checked before anything goes up
            raise DeploymentFailed(str(error)) from error

    def _refusal(self, error: HfHubHTTPError) -> str:
        status = error.response.status_code
        said = error.server_message or str(error).splitlines()[0]
        if status in (401, 403):
            return (
                f"The Hub does not let you write to {self.name} ({said}). Log in with `hf auth login`, or set HF_TOKEN to a "
                "token that may write to it."
            )
        if status == 402:
            return f"The Hub wants a paid plan for this ({said}). ZeroGPU is free: --hardware zerogpu."
        if status == 412:
            return f"Somebody else has just changed {self.name}. Deploy again."
        return f"The Hub answered {status}: {said}"

    def look(self) -> None:
        with self.told():
            try:
                self.info = self.api.space_info(self.name)
            except RepositoryNotFoundError:
                self.info = None

    def create(self, hardware: str | None, private: bool) -> None:
        with self.told():
            self.api.create_repo(
                self.name,
                repo_type="space",
                space_sdk="gradio",
                space_hardware=hardware,  # type: ignore[arg-type]
                private=private or None,
            )
        self.look()
        if self.info is None:
            raise DeploymentFailed(f"The Hub made {self.name} and does not show it. Deploy again.")

    def set_hardware(self, hardware: str) -> bool:
        """Asks for it; False where the Space has it, or has been asked, already."""
        with self.told():
            if self.api.get_space_runtime(self.name).requested_hardware == hardware:
                return False
            self.api.request_space_hardware(self.name, hardware)  # type: ignore[arg-type]
            return True

    def rebuild(self) -> None:
        """Builds what is there once more, without a cache."""
        with self.told():
            self.api.restart_space(self.name, factory_reboot=True)

    def difference(self, files: Files) -> Difference:
        there = self._files() if self.info else {}
        gone = there.keys() - files.keys() - {KEPT}
        changed = [path for path in files.keys() & there.keys() if not _same(there[path], files[path])]
        return Difference(sorted(files.keys() - there.keys()), sorted(changed), sorted(gone))

    def commit(self, files: Files, difference: Difference, title: str, text: str) -> None:
        """One commit on the Space's ``main``; refused where somebody committed after ``look``."""
        assert self.info
        going = [CommitOperationAdd(p, files[p]) for p in difference.new + difference.changed]
        gone = [CommitOperationDelete(p, is_folder=False) for p in difference.gone]
        with self.told():
            self.api.create_commit(
                self.name,
                [*gone, *going],
                repo_type="space",
                commit_message=title,
                commit_description=text,
                parent_commit=self.info.sha,
            )
            missing = sorted(files.keys() - self._files().keys())
        if missing:  # a .gitignore of the Space made the Hub leave them out
            raise DeploymentFailed(f"The Hub left out {', '.join(missing[:5])}. Deploy again.")

    def _files(self) -> dict[str, RepoFile]:
        with self.told():
            tree = self.api.list_repo_tree(self.name, recursive=True, repo_type="space")
            return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _same(there: RepoFile, content: bytes) -> bool:
    if there.lfs:
        return there.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return there.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
