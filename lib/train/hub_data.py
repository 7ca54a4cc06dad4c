"""Fetches a dataset from the Hub, if the settings allow it: a repository of image folders, or of zips of them.

Downloads only images and zips. The content is as untrusted as an upload, so this runs in a child process.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from lib.errors import InvalidFile, InvalidValue, JobFailed
from lib.train.archives import unpack
from lib.train.data import DataSet
from lib.train.layout import MAX_PICTURES
from lib.train.pictures import SUFFIXES

NAME = re.compile(r"hub:([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w./-]{1,100}))?")
MAX_BYTES = 4 << 30
Progress = Callable[[str, float], None]
Fetch = Callable[[str, str | None, Path], None]


def from_hub(
    name: str, home: Path, *, allowed: bool, progress: Progress | None = None, fetch: Fetch | None = None
) -> DataSet:
    """Fetch ``hub:owner/name`` or ``hub:owner/name@revision`` to ``home/pictures``, scan it and save it.

    ``fetch(repository, revision, folder)`` replaces the download from the Hub. Raises InvalidValue if the Hub is not allowed
    or the name is malformed, JobFailed if the download fails, and InvalidFile if there are no image folders.
    """
    match = NAME.fullmatch(name)
    if match is None or ".." in name:
        raise InvalidValue("dataset", name, "hub:owner/name or hub:owner/name@revision")
    if not allowed:
        raise InvalidValue("dataset", name, "objects, digits or a zip: the Hub is not enabled on this server")
    folder, fetched = home / "pictures", home / "fetched"
    folder.mkdir(parents=True)
    try:
        if progress is not None:
            progress("Fetching from the Hub", 0.0)
        (fetch or _snapshot)(match[1], match[2], fetched)
        left_out = _arrange(fetched, folder, progress)
        data = DataSet.scan(folder, home, progress, left_out.items())
        data.save()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return data


def _arrange(fetched: Path, folder: Path, progress: Progress | None) -> dict[str, str]:
    """Move the download to ``folder``; zips (train.zip, test.zip, ...) are unpacked to folders named after them."""
    zips = sorted(path for path in fetched.rglob("*.zip") if path.is_file() and not path.is_symlink())
    if not zips:
        folder.rmdir()
        fetched.rename(folder)
        return {}
    left_out: dict[str, str] = {}
    for archive in zips:
        inside = folder if len(zips) == 1 else folder / archive.stem
        if inside != folder and inside.exists():
            raise InvalidFile(f"The repository has two zips named {archive.name!r}; their names must differ.")
        left_out |= unpack(archive, inside, progress=progress)
    return left_out


def _snapshot(repository: str, revision: str | None, folder: Path) -> None:
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
        suffixes = (*SUFFIXES, ".zip")
        sizes = {f.rfilename: f.size or 0 for f in info.siblings or [] if f.rfilename.lower().endswith(suffixes)}
    except Exception as error:  # network errors or an unexpected response
        raise JobFailed(f"{repository} could not be found on the Hub ({type(error).__name__}).") from error
    if not sizes:
        raise InvalidFile(f"{repository} has neither pictures nor a zip; Parquet data sets are not supported.")
    if len(sizes) > MAX_PICTURES or sum(sizes.values()) > MAX_BYTES:
        raise InvalidFile(
            f"{repository} has {len(sizes):,} files ({sum(sizes.values()) >> 20:,} MB); "
            f"at most {MAX_PICTURES:,} ({MAX_BYTES >> 20:,} MB) can be downloaded."
        )
    try:
        patterns = [f"*{suffix}" for suffix in suffixes] + [f"*{suffix.upper()}" for suffix in suffixes]
        snapshot_download(repository, repo_type="dataset", revision=info.sha, local_dir=folder, allow_patterns=patterns)
    except Exception as error:
        raise JobFailed(f"{repository} could not be downloaded from the Hub ({type(error).__name__}).") from error
