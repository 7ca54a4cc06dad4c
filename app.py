"""Model Workbench: the list of tabs. ``python app.py`` serves all of them on one port."""

import sys
from pathlib import Path

from web.shell import main

# Folders under spaces/, in the order of the tabs on the page.
TABS = ("text_to_image", "onnx_inspect", "convert", "train")

if __name__ == "__main__":
    sys.exit(main([Path(__file__).parent / "spaces" / name for name in TABS]))
