"""The Space's repository: its differences from ours, and a single commit that removes them.

A single commit, because a Space builds at every commit: ``hf upload`` splits many files into several commits, and the
Space is broken in between. The Hub's hook rejects the binary files in a plain ``git push`` of this history;
``create_commit`` uploads them separately, so the history need not change.
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

KEPT = ".gitattributes"  # created by the Hub; without it, a Space checks out pointers instead of weights
ZERO_GPU = "zero-a10g"  # the Hub's name for ZeroGPU, whatever the GPU


@dataclass(frozen=True, slots=True)
class Difference:
    """Sorted paths. ``new`` and ``changed`` are uploaded, ``gone`` are deleted."""

    new: list[str]
    changed: list[str]
    gone: list[str]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.gone)


class Space:
    """A Space on the Hub, accessed with the endpoint and token of ``huggingface_hub``."""

    def __init__(self, name: str) -> None:
        """``name``: ``owner/name``. Raises InvalidValue for anything else."""
        if name.count("/") != 1:
            raise InvalidValue("space", name, "owner/name")
        self.name = name
        self.api = HfApi()
        self.info: SpaceInfo | None = None  # None: the Space does not exist or is not visible

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn errors of the Hub and the network into DeploymentFailed, and an invalid name into InvalidValue."""
        try:
            yield
        except HFValidationError:
            raise InvalidValue("space", self.name, "owner/name with letters, digits, '-', '_' and '.'") from None
        except HfHubHTTPError as error:
            raise DeploymentFailed(self._refusal(error)) from error
        except httpx2.HTTPError as error:
            raise DeploymentFailed(f"The Hub cannot be reached ({type(error).__name__}). Try again.") from error
        except OIDCError as error:
            raise DeploymentFailed(
                f"The Hub issued no token for this workflow: {error}. Check the Space's trusted publisher."
            ) from error
        except ValueError as error:  # the card, which is checked before the upload
            raise DeploymentFailed(str(error)) from error

    def _refusal(self, error: HfHubHTTPError) -> str:
        status = error.response.status_code
        text = error.server_message or str(error).splitlines()[0]
        if status in (401, 403):
            return (
                f"The Hub denies you write access to {self.name} ({text}). Log in with `hf auth login`, or set HF_TOKEN to "
                "a token with write access."
            )
        if status == 402:
            return f"The Hub requires a paid plan for this ({text}). ZeroGPU is free: --hardware zerogpu."
        if status == 412:
            return f"Somebody else has just changed {self.name}. Deploy again."
        return f"The Hub answered {status}: {text}"

    def look(self) -> None:
        """Fetch ``info`` from the Hub."""
        with self.told():
            try:
                self.info = self.api.space_info(self.name)
            except RepositoryNotFoundError:
                self.info = None

    def create(self, hardware: str | None, private: bool) -> None:
        """Create the Space. ``hardware``: the Hub's name for it, None for the default."""
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
            raise DeploymentFailed(f"The Hub created {self.name} but does not list it. Deploy again.")

    def set_hardware(self, hardware: str) -> bool:
        """Request hardware. Returns False if the Space already has it or it is already requested."""
        with self.told():
            if self.api.get_space_runtime(self.name).requested_hardware == hardware:
                return False
            self.api.request_space_hardware(self.name, hardware)  # type: ignore[arg-type]
            return True

    def rebuild(self) -> None:
        """Rebuild the Space without a cache."""
        with self.told():
            self.api.restart_space(self.name, factory_reboot=True)

    def difference(self, files: Files) -> Difference:
        """Compare ``files`` with the Space's repository."""
        remote_files = self._files() if self.info else {}
        gone = remote_files.keys() - files.keys() - {KEPT}
        changed = [path for path in files.keys() & remote_files.keys() if not _same(remote_files[path], files[path])]
        return Difference(sorted(files.keys() - remote_files.keys()), sorted(changed), sorted(gone))

    def commit(self, files: Files, difference: Difference, title: str, text: str) -> None:
        """Make one commit on the Space's ``main``. Raises DeploymentFailed if somebody committed after ``look``."""
        assert self.info
        additions = [CommitOperationAdd(p, files[p]) for p in difference.new + difference.changed]
        deletions = [CommitOperationDelete(p, is_folder=False) for p in difference.gone]
        with self.told():
            self.api.create_commit(
                self.name,
                [*deletions, *additions],
                repo_type="space",
                commit_message=title,
                commit_description=text,
                parent_commit=self.info.sha,
            )
            missing = sorted(files.keys() - self._files().keys())
        if missing:  # the Hub skips files that the Space's .gitignore matches
            raise DeploymentFailed(f"The Hub skipped {', '.join(missing[:5])}. Deploy again.")

    def _files(self) -> dict[str, RepoFile]:
        with self.told():
            tree = self.api.list_repo_tree(self.name, recursive=True, repo_type="space")
            return {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}


def _same(there: RepoFile, content: bytes) -> bool:
    if there.lfs:
        return there.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return there.blob_id == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
