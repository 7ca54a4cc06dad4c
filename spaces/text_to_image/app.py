"""The text-to-image tab. Also runs on its own: ``python spaces/text_to_image/app.py``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve()
    sys.path.insert(0, str(next(p for p in here.parents if (p / "lib").is_dir())))
    from web.shell import main

    sys.exit(main([here.parent]))  # loads this file again, as a package

from typing import Any

from fastapi.routing import APIRoute

from lib.settings import Settings
from lib.text_to_image.engine import Engine
from lib.text_to_image.gallery import Gallery
from lib.text_to_image.start_picture_reader import StartPictureReader
from web.visit import Visit

from . import api, page, pictures, rest


class TextToImage:
    """The engine with its three interfaces: the page, the Gradio API and REST."""

    title = "Text to image"
    slug = "pictures"
    css = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
    visit: Visit

    def __init__(self, settings: Settings) -> None:
        if settings.zero_gpu:
            import spaces
            from lib.text_to_image.zero_gpu import PerCallEngine

            self.engine = PerCallEngine(settings, spaces.GPU)
        elif settings.replicas:
            from lib.replicas.remote import RemoteEngine

            self.engine = RemoteEngine(settings)
        else:
            self.engine = Engine(settings)
        self.gallery = Gallery(settings.gallery_folder, settings.gallery_hours)
        self.reader = StartPictureReader(settings)

    def build(self) -> None:
        page.build(self.engine, self.gallery, self.reader, self.visit)
        api.build(self.engine, self.reader)

    def routes(self) -> list[APIRoute]:
        return [*rest.routes(self.engine, self.reader), *pictures.routes(self.gallery)]

    def health(self) -> dict[str, Any]:
        return self.engine.status()

    @property
    def ready(self) -> bool:
        return self.engine.ready

    def gauges(self) -> dict[str, Any]:
        idle = dict.fromkeys(self.engine.catalogue.names, 0)
        counts = {f"requests_{state}": idle | models for state, models in self.engine.under_way().items()}
        values: dict[str, Any] = {name: [((model,), n) for model, n in models.items()] for name, models in counts.items()}
        return values | {"queue_size": [((), self.engine.settings.queue_size)]}

    def start(self) -> None:
        self.engine.start()

    def drain(self, seconds: float) -> None:
        self.engine.drain(seconds)

    def update(self) -> None:
        """Replaces the replicas one by one. Does nothing if there are none."""
        if hasattr(self.engine, "update"):
            self.engine.update()

    def close(self) -> None:
        self.reader.close()
        self.engine.close()


TAB = TextToImage
