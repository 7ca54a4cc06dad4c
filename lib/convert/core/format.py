"""What a format is called, what an artifact of it is on disk, who runs it, and how an upload of it is recognised."""

from __future__ import annotations

from dataclasses import dataclass

APP = "app"  # the environment that the app itself runs in
LAST = 100  # where a target is listed that nobody placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """How an uploaded file of a format is recognised, checked and stored.

    Functions are ``module:function`` below ``formats/``, imported when a file is there. A file is of this format when
    one of ``magic`` (offset, bytes) stands in it, or ``matches(head, size) -> bool`` says so (``head`` is its first 512
    bytes); a zip is when ``in_zip(names, root) -> bool`` says so. Both may raise InvalidFile for a near relative.

    Then the first of these that is given decides; all raise InvalidFile:

    - ``admit(name, path, beside, folder) -> (format, messages)`` stores the artifact in ``folder``;
    - ``write(path, target) -> messages`` writes a checked copy to the artifact's main file or folder;
    - ``check(path) -> messages or None``: the file is copied as it is.

    ``wanted`` names it in the sentence on what may be uploaded. ``suffixes``: what a whole model is usually called, so
    that it is not taken for the weights of a named architecture. ``beside``: other files may come with it. ``closed``:
    why its uploads are refused unless the owner of the app allows them.
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
    """``main`` is the main file's name in an artifact's folder; ``runner`` is ``module:Class`` below ``formats/``.

    ``base`` is the format that files of a variant (fp16, int8 …) are in: a variant is a target, never a source.
    ``upload`` is None for what nobody uploads. ``container``: tensors without a network around them.
    ``holds_weights``: False for a name whose weights are made when it runs; its bytes are compared with nothing.
    ``described_in_app``: its signature is read without its ``environment``, which only runs it. ``place``: where it is
    listed among the targets, the likeliest wish first. ``emulation``: ``module:function`` below ``emulation/``, which
    rounds a source as this lossy format does.
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
