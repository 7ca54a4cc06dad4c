"""The LoRAs that visitors may choose from, in the order of the owner's LORAS. Visitors see only names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.errors import InvalidValue, ModelUnavailable
from lib.text_to_image.loras.selection import Loras

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"  # diffusers' default name
HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSource:
    """Source of a LoRA: a local file or folder (``path``), or a Hub ``repository`` at a ``revision``."""

    name: str
    path: Path | None = None
    repository: str = ""
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> LoraSource:
        """Parse ``name=/folder``, ``name=/file.safetensors`` or ``name=owner/repository@revision``."""
        name, _, place = (part.strip() for part in text.partition("="))
        if HUB.fullmatch(place) and not place.startswith(".") and not place.endswith(".safetensors"):
            repository, _, revision = place.partition("@")
            return cls(name=name, repository=repository, revision=revision or None)
        return cls(name=name, path=Path(place).expanduser())

    def file(self) -> Path:
        """Return the path of the weights, downloading them if needed. Raises ModelUnavailable with the reason."""
        if self.path is None:
            return self._download()
        if not self.path.is_dir():
            if self.path.suffix != ".safetensors":
                raise ModelUnavailable("it is not a .safetensors file, and pickles are not opened here")
            if not self.path.is_file():
                raise ModelUnavailable("its file is missing")
            return self.path
        return self.path / _only([p.name for p in self.path.iterdir() if p.is_file()])

    def _download(self) -> Path:
        import huggingface_hub
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            try:
                names = huggingface_hub.list_repo_files(self.repository, revision=self.revision)
            except OSError:  # no network: use an earlier download
                options = {"allow_patterns": "*.safetensors", "local_files_only": True}
                folder = Path(huggingface_hub.snapshot_download(self.repository, revision=self.revision, **options))
                return folder / _only([p.name for p in folder.iterdir()])
            return Path(huggingface_hub.hf_hub_download(self.repository, _only(names), revision=self.revision))
        except HfHubHTTPError:
            raise ModelUnavailable("the Hub has no such repository, or it is private") from None
        except (OSError, LocalEntryNotFoundError):
            raise ModelUnavailable("it is not downloaded and the network could not be reached") from None


class LoraCatalogue:
    """The listed LoRAs by name."""

    def __init__(self, listed: Sequence[str]) -> None:
        """``listed``: ``Settings.loras``."""
        self.sources = {source.name: source for source in map(LoraSource.parse, listed)}

    @property
    def names(self) -> list[str]:
        return list(self.sources)

    def check(self, loras: Loras) -> None:
        """Raise InvalidValue for a name that is not listed."""
        for name, _ in loras:
            if name not in self.sources:
                raise InvalidValue("loras", name, ", ".join(self.names) or "none, since this app has no LoRAs (LORAS)")

    def fetch(self, loras: Loras) -> None:
        """Download the LoRAs that are on the Hub. Raises ModelUnavailable."""
        for name, weight in loras:
            try:
                if weight:
                    self.sources[name].file()
            except ModelUnavailable as error:
                raise ModelUnavailable(f"The LoRA {name!r} could not be loaded: {error}.") from None


def _only(names: Sequence[str]) -> str:
    """Return the only file of weights among ``names``, or diffusers' default. Raises ModelUnavailable."""
    files = sorted(name for name in names if name.endswith(".safetensors") and "/" not in name)
    if DIFFUSERS_FILE in files:
        return DIFFUSERS_FILE
    if len(files) != 1:
        description = (
            "no .safetensors file" if not files else f"several ({', '.join(files[:4])}): LORAS can name one of them"
        )
        raise ModelUnavailable(f"its folder holds {description}")
    return files[0]
