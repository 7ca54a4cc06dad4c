"""``python -m lib.convert.environments [NAME...]`` builds environments ahead of time; without names, all of them."""

from __future__ import annotations

import sys

from lib.convert import environments
from lib.errors import WorkbenchError
from lib.settings import Settings


def main() -> None:
    folder = Settings.from_environment().data_folder / "environments"
    last = [""]

    def progress(stage: str, share: float | None = None) -> None:
        if stage != last[0]:
            print(stage, flush=True)
        last[0] = stage

    for name in sys.argv[1:] or environments.names():
        environments.ensure(name, folder, progress)


if __name__ == "__main__":
    try:
        main()
    except WorkbenchError as error:
        sys.exit(error.message)
