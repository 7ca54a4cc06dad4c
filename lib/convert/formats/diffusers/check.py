"""Checks and unpacks the zip of a diffusers pipeline folder: only configurations, text files and safetensors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from lib.archives import Limits, is_litter, opened
from lib.convert.core import json_text
from lib.convert.core.archives import root_of
from lib.convert.core.transformers_config import DROPPED, REFUSED
from lib.convert.formats.weights.safetensors_check import check_safetensors
from lib.errors import InvalidFile

INDEX = "model_index.json"
CLASS = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
KEPT = (".json", ".txt", ".safetensors", ".model")
IGNORED = (".md", ".png", ".jpg", ".jpeg", ".webp", ".gitattributes", ".gitignore", "LICENSE")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
CODE = (".py", ".so", ".pyc", ".sh", ".dll")


def is_pipeline(names: set[str], root: str) -> bool:
    """Returns whether a zip with these members is a diffusers pipeline."""
    return f"{root}{INDEX}" in names


def unpack(path: Path, folder: Path) -> list[str]:
    """Checks the zip and unpacks it into ``folder``; returns messages. Raises InvalidFile."""
    skipped = []
    with opened(path, Limits(total=16 << 30)) as archive:
        root = root_of(archive)
        for name in archive.members:
            if is_litter(name):
                continue
            member = name.removeprefix(root)
            lower_name = member.lower()
            if lower_name.endswith(tuple(s.lower() for s in IGNORED)):
                skipped.append(member)
                continue
            _refuse(member, lower_name)
            target = folder / member
            target.parent.mkdir(parents=True, exist_ok=True)
            archive.write(name, target)
    index = folder / INDEX
    _check_index(json_text.parse(index.read_bytes(), INDEX, 1 << 20))
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        member = file.relative_to(folder).as_posix()
        if member.endswith(".safetensors"):
            try:
                check_safetensors(file)
            except InvalidFile as error:
                raise InvalidFile(f"{member[:80]}: {error.message}") from None
        elif member.endswith(".json"):
            _check_json(file, member)
    return [f"Left out of the folder: {', '.join(sorted(skipped)[:5])}."] if skipped else []


def _refuse(inner: str, low: str) -> None:
    """Raises InvalidFile for a pickle, a program or any other file that does not belong; ``low``: lower-case name."""
    shown = repr(inner[:80])
    if low.endswith(PICKLES):
        raise InvalidFile(
            f"{shown} in the pipeline is a pickle, which can run arbitrary code and is not opened. Save the pipeline with "
            "safe_serialization=True, which writes safetensors."
        )
    if low.endswith(CODE):
        raise InvalidFile(f"{shown} in the pipeline is code, which is never run; only diffusers' own classes are used.")
    if not low.endswith(KEPT) or inner.count("/") > 1:
        raise InvalidFile(
            f"{shown} does not belong in a pipeline folder; allowed: {', '.join(KEPT)} in one level of folders."
        )


def _check_index(index: dict[str, Any]) -> None:
    """Raises InvalidFile unless every entry of model_index.json is plain or a known [library, class] pair."""
    for key, value in index.items():
        if key == "_class_name":
            valid = isinstance(value, str) and CLASS.fullmatch(value)
        elif key == "_diffusers_version":
            valid = isinstance(value, str) and len(value) < 40
        elif key == "_name_or_path":
            valid = True
        elif isinstance(value, list):
            valid = CLASS.fullmatch(key) and (
                value == [None, None]
                or (len(value) == 2 and value[0] in LIBRARIES and isinstance(value[1], str) and CLASS.fullmatch(value[1]))
            )
        else:
            valid = CLASS.fullmatch(key) and (value is None or isinstance(value, bool | int | float))
        if not valid:
            raise InvalidFile(
                f"{INDEX} has {key[:60]!r}: {str(value)[:80]}; components must be [library, class] of "
                f"{', '.join(LIBRARIES)}."
            )
    if "_class_name" not in index:
        raise InvalidFile(f"{INDEX} does not name the pipeline's class. Save it again with save_pretrained.")


def _check_json(path: Path, inner: str) -> None:
    """Checks a configuration and rewrites it without the keys in ``DROPPED``. Raises InvalidFile."""
    if inner.endswith("tokenizer.json") or inner.endswith("vocab.json"):
        json_text.parse(path.read_bytes(), inner)
        return
    content = json_text.parse(path.read_bytes(), inner)
    for node in json_text.objects(content):
        for key, reason in REFUSED.items():
            if node.get(key):
                raise InvalidFile(f"{inner} has {key!r}. {reason}")
        name = node.get("_class_name")
        if name is not None and not (isinstance(name, str) and CLASS.fullmatch(name)) and not isinstance(name, list):
            raise InvalidFile(f"{inner} has the class {str(name)[:80]!r}; a plain class name is needed.")
        for key in DROPPED:
            node.pop(key, None)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False))
