"""Checks an HDF5 weights file with h5py: only groups and numeric arrays, nothing that refers to other files.

Links are inspected before they are followed: external links, external storage and virtual datasets open other files
as soon as they are read. Soft links are refused too.
"""

from __future__ import annotations

from pathlib import Path

from lib.errors import InvalidFile

MAX_OBJECTS, MAX_DEPTH, MAX_DIMENSIONS = 50_000, 30, 16
MAX_RATIO = 1000  # highest compression ratio
SIGNATURE = b"\x89HDF\r\n\x1a\n"
FILTERS = {1, 2, 3}  # deflate, shuffle, Fletcher-32 checksum; others are plug-ins
DAMAGED = "The weights (HDF5) are damaged or cut off. Save the model again with Keras."


def check_hdf5(path: Path) -> int:
    """Checks the file without reading any array data; returns the number of arrays. Raises InvalidFile."""
    with path.open("rb") as file:
        if file.read(8) != SIGNATURE:
            raise InvalidFile("The weights are not an HDF5 file. Save the model again with Keras.")
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            return _Walk(h5py, path.stat().st_size).group(file.id, 0)
    except InvalidFile:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError, OverflowError, AttributeError):
        raise InvalidFile(DAMAGED) from None  # h5py has no exception of its own


class _Walk:
    """Walks an HDF5 file. Raises InvalidFile for anything that is not allowed."""

    def __init__(self, h5py: object, size: int) -> None:
        self._h5, self._size, self._seen = h5py, size, set()
        self._bytes = 0

    def group(self, group: object, depth: int) -> int:
        """Checks a group recursively; returns the number of arrays in it."""
        h5 = self._h5
        if depth > MAX_DEPTH:
            raise InvalidFile(f"The weights (HDF5) have groups nested over {MAX_DEPTH} deep.")
        arrays = 0
        for name in list(group):
            shown = repr(name.decode(errors="replace")[:80])
            if group.links.get_info(name).type != h5.h5l.TYPE_HARD:
                raise InvalidFile(
                    f"{shown} in the weights (HDF5) is a soft or external link; only arrays and groups are read."
                )
            info = h5.h5o.get_info(group, name)
            if info.addr in self._seen:
                raise InvalidFile(f"{shown} in the weights (HDF5) occurs twice, through a cycle or a hard link.")
            self._seen.add(info.addr)
            if len(self._seen) > MAX_OBJECTS:
                raise InvalidFile(f"The weights (HDF5) have over {MAX_OBJECTS:,} objects.")
            if info.type == h5.h5o.TYPE_GROUP:
                arrays += self.group(h5.h5o.open(group, name), depth + 1)
            elif info.type == h5.h5o.TYPE_DATASET:
                self._array(h5.h5o.open(group, name), shown)
                arrays += 1
            else:
                raise InvalidFile(f"{shown} in the weights (HDF5) is neither an array nor a group.")
        return arrays

    def _array(self, array: object, shown: str) -> None:
        h5 = self._h5
        plan = array.get_create_plist()
        layout = plan.get_layout()
        if layout == h5.h5d.VIRTUAL or plan.get_external_count():
            raise InvalidFile(f"{shown} in the weights (HDF5) has its values in another file; they must be in this one.")
        dtype = array.get_type()
        if dtype.get_class() not in (h5.h5t.INTEGER, h5.h5t.FLOAT, h5.h5t.ENUM) or dtype.get_size() > 8:
            raise InvalidFile(f"{shown} in the weights (HDF5) does not hold numbers.")
        shape = array.shape
        count = 1
        for d in shape:
            count *= d
        byte_count = count * dtype.get_size()
        filters = {plan.get_filter(k)[0] for k in range(plan.get_nfilters())}
        if filters - FILTERS:
            raise InvalidFile(f"{shown} in the weights (HDF5) uses a compression plug-in; use gzip or none.")
        stored = array.get_storage_size()
        # unwritten values read as zeros, so a small file could claim any size
        if len(shape) > MAX_DIMENSIONS or byte_count > max(stored, 4096 if layout == h5.h5d.CHUNKED else 0) * (
            MAX_RATIO if 1 in filters else 1
        ):
            raise InvalidFile(
                f"{shown} in the weights (HDF5) declares {byte_count:,} bytes, but only {stored:,} are stored."
            )
        if not filters and stored > self._size:
            raise InvalidFile(DAMAGED)
        self._bytes += byte_count
        if self._bytes > MAX_RATIO * self._size:
            raise InvalidFile(
                "The weights (HDF5) unpack to over a thousand times the file size: they cannot be a model's weights."
            )
