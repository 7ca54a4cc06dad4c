"""Model Workbench: the table of tabs. ``python app.py`` serves them all on one port."""

import sys
from pathlib import Path

from web.shell import main

# One row a tab, in the order of the page: folders under spaces/.
TABS = ("text_to_image", "onnx_inspect", "convert", "train")

if __name__ == "__main__":
    sys.exit(main([Path(__file__).parent / "spaces" / name for name in TABS]))
