"""The converter tab. Also runs standalone: ``python spaces/convert/app.py``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve()
    sys.path.insert(0, str(next(p for p in here.parents if (p / "lib").is_dir())))
    from web.shell import main

    sys.exit(main([here.parent]))  # loads this file again, as part of a package

from typing import Any

from fastapi.routing import APIRoute

from lib.convert.service.converter import Converter
from lib.settings import Settings
from web.folders import Folders
from web.visit import Visit

from . import api, page, rest, view


class Convert:
    """Exposes the converter through the page, the Gradio API and REST."""

    title = "Convert"
    slug = "convert"
    css = view.CSS
    visit: Visit

    def __init__(self, settings: Settings) -> None:
        self.converter, self.folders = Converter(settings), Folders("workbench-converted-")
        self.hours, self.max_file_mb = settings.gallery_hours, settings.max_file_mb

    def build(self) -> None:
        opener, offer = page.build(self.converter, self.folders, self.visit)
        self.opens, self.offers = [opener], [offer]
        api.build(self.converter, self.folders)

    def routes(self) -> list[APIRoute]:
        return rest.routes(self.converter, self.folders, self.max_file_mb)

    def health(self) -> dict[str, Any]:
        return {"conversions": self.converter.status()}

    def start(self) -> None:
        self.folders.sweep(self.hours)
        self.converter.start()

    def close(self) -> None:
        self.converter.close()
        self.folders.close()


TAB = Convert
