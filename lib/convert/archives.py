"""Models come in zips too: read with distrust, by the reader that all capabilities share (``lib/archives.py``)."""

from lib.archives import Archive, Limits, is_litter, opened

__all__ = ["Archive", "Limits", "is_litter", "opened"]
