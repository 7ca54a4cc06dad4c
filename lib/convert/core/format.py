"""Description of a format: its names, its files on disk, its runner, and how an upload is recognized."""

from __future__ import annotations

from dataclasses import dataclass

APP = "app"  # the environment that the app itself runs in
LAST = 100  # default place of a target in the list


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """How an uploaded file of a format is recognized, checked and stored.

    Functions are ``module:function`` below ``formats/`` and are imported on use. A file has this format if it contains one
    of ``magic`` (offset, bytes) or if ``matches(head, size) -> bool`` is true (``head``: the first 512 bytes); a zip, if
    ``in_zip(names, root) -> bool`` is true. Both may raise InvalidFile for a similar format that is not supported.

    The first of these that is set stores the file; all raise InvalidFile:

    - ``admit(name, path, beside, folder) -> (format, messages)`` stores the artifact in ``folder``;
    - ``write(path, target) -> messages`` writes a checked copy to the artifact's main file or folder;
    - ``check(path) -> messages or None``: the file is copied as it is.

    ``wanted``: its name in the message on what can be uploaded. ``suffixes``: usual suffixes of a whole model, so that it
    is not taken for the weights of a named architecture. ``beside``: whether other files may accompany it. ``closed``: why
    uploads are rejected unless the owner of the app allows them.
    """

    wanted: str = ""
    suffixes: tuple[str, ...] = ()
    magic: tuple[tuple[int, bytes], ...] = ()
    matches: str = ""
    in_zip: str = ""
    admit: str = ""
    write: str = ""
    check: str = ""
    beside: bool = False
    closed: str = ""


@dataclass(frozen=True, slots=True)
class Format:
    """A format. ``main``: name of the main file in an artifact's folder; ``runner``: ``module:Class`` below ``formats/``.

    ``base``: the file format of a variant (fp16, int8 …), which is a target but never a source. ``upload``: None if it
    cannot be uploaded. ``container``: holds tensors without a network. ``holds_weights``: False if the weights are created
    at run time, so that its size is not compared. ``described_in_app``: its signature is read in the app, and
    ``environment`` is only needed to run it. ``place``: position among the targets, the most likely first.
    ``emulation``: ``module:function`` below ``emulation/`` that rounds a source as this lossy format does.
    """

    name: str
    title: str
    main: str
    runner: str
    environment: str = APP
    base: str = ""
    upload: Upload | None = None
    container: bool = False
    holds_weights: bool = True
    described_in_app: bool = False
    place: int = LAST
    emulation: str = ""

    @property
    def on_disk(self) -> str:
        return self.base or self.name
