"""Maps folders of pictures to classes of the model. Opens no pictures."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from lib.archives import Archive
from lib.errors import InvalidFile

CLASSES = "classes.txt"  # in a zip: the model's classes in order, a line each
MAX_CLASSES = 100_000
Labels = list[int] | None


def read_classes(archive: Archive) -> list[str]:
    """The classes that the archive's ``classes.txt`` lists, none where there is no such file. Raises InvalidFile."""
    if CLASSES not in archive.members:
        return []
    try:
        found = archive.read(CLASSES, 4 << 20).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InvalidFile(f"{CLASSES} in the archive is not UTF-8. Save it as UTF-8, one class per line.") from None
    found = [line for line in found if line.strip()]
    if len(found) > MAX_CLASSES or len(set(found)) < len(found):
        raise InvalidFile(
            f"{CLASSES} in the archive has a duplicate class or more than {MAX_CLASSES:,}. One class per line."
        )
    return found


def of(folders: list[str], names: Sequence[str]) -> tuple[Labels, list[str], list[str]]:
    """Classes by the last folder: as the model names them, by number where all folders are numbers, else sorted."""
    labels = [folder.rpartition("/")[2] for folder in folders]
    found = sorted(set(labels))
    if "" in found or (len(found) < 2 and not set(found) <= set(names)):
        why = "Some pictures are not in a folder" if "" in found and len(found) > 1 else ""
        return None, [], [f"{why}: no picture gets a label."] if why else []
    if names and not set(found) <= set(names):
        unknown = [one for one in found if one not in names]
        near = get_close_matches(unknown[0], names, 1)
        hint = f" Did you mean {near[0][:80]!r}?" if near else ""
        example = f"such as {unknown[0][:80]!r}.{hint}"
        return None, [], [f"No labels: {len(unknown):,} of {len(found):,} folders are not classes of the model, {example}"]
    if names:
        classes = list(names)
    elif all(f.isdecimal() and len(f) <= 5 for f in found):
        classes = [str(k) for k in range(max(map(int, found)) + 1)]
        labels = [str(int(one)) for one in labels]
    else:
        classes = found
        return (
            [classes.index(one) for one in labels],
            classes,
            [f"Labels: the folders in alphabetical order are classes 0 to {len(classes) - 1} of the model."],
        )
    return [classes.index(one) for one in labels], classes, []
