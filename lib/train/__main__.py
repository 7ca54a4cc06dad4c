"""Trains from the command line: ``python -m lib.train FOLDER --epochs 3``.

FOLDER holds one folder of pictures a class, or is ``objects`` or ``digits``. The run goes where the app keeps its own
(DATA_FOLDER), so the page shows it with TRAIN_SHARED=1. ``accelerate launch --num_processes 2 -m lib.train FOLDER`` shares
every batch among processes. Ctrl-C stops after the last whole epoch; ``--resume RUN`` goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from lib.errors import InvalidFile, WorkbenchError
from lib.settings import Settings, prepare_library
from lib.train import datasets, experiment
from lib.train.data import DataSet
from lib.train.events import Built, Epoch, Event, Stage, Step
from lib.train.recipe import FRAMEWORKS, PRECISIONS, TECHNIQUES, WEIGHTS, Recipe
from lib.train.reproduce import recipe_of, verdict
from lib.train.runs import Run, Runs

HELP = {
    "framework": f"{' or '.join(FRAMEWORKS)}; ",
    "weights": f"{' or '.join(WEIGHTS)}; ",
    "technique": f"{' or '.join(TECHNIQUES)}; ",
    "mixed_precision": f"{', '.join(PRECISIONS)}; ",
    "epochs": "0: the technique's own number; ",
    "image_size": "pixels a side; ",
    "early_stop": "epochs without a better validation loss, 0: never; ",
    "validation": "share of the training pictures, unless there is val/; ",
}


def parser() -> argparse.ArgumentParser:
    """An option for each field of the recipe."""
    ap = argparse.ArgumentParser(
        prog="python -m lib.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("data", nargs="?", help="a folder with one folder of pictures a class, or objects, or digits")
    ap.add_argument("--name", default="", help="the run's name; the folder's without one")
    ap.add_argument("--runs", type=Path, help="where runs are kept; without it, the app's own folder")
    ap.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped or interrupted")
    ap.add_argument("--reproduce", metavar="RUN", help="train a run again and compare")
    ap.add_argument("--list", action="store_true", help="list the runs")
    for field in fields(Recipe):
        assert field.default is not MISSING
        switch = {"action": argparse.BooleanOptionalAction} if isinstance(field.default, bool) else {}
        ap.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=field.name,
            help=HELP.get(field.name, "") + f"default {field.default!r}",
            **switch,
        )
    return ap


def main(words: list[str] | None = None) -> int:
    """An exit status: 0, 2 for a wrong option, 130 for a stop."""
    ap = parser()
    args = ap.parse_args(words)
    settings = Settings.from_environment()
    home = args.runs or settings.train_folder / "visitors" / "shared" / "runs"
    runs = Runs(home)
    prepare_library(KERAS_BACKEND="torch")
    try:
        if args.list:
            for record in runs.list():
                result = record.get("result") or {}
                accuracy = f"{result['accuracy']:.1%} of {result['count']} {result['on']} pictures" if result else "–"
                print(f"{record['id']}  {record['status']:<11}  {accuracy}")
            return 0
        values = {f.name: getattr(args, f.name) for f in fields(Recipe) if getattr(args, f.name) is not None}
        return _train(args, Recipe.parse(values), runs, settings)
    except WorkbenchError as error:
        print(f"{ap.prog}: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The last whole epoch is kept: --resume goes on with it.", file=sys.stderr)
        return 130


def _train(args: argparse.Namespace, recipe: Recipe, runs: Runs, settings: Settings) -> int:
    earlier = runs.find(args.resume or args.reproduce) if args.resume or args.reproduce else None
    if earlier is None and not args.data:
        raise InvalidFile("Name a folder of pictures, or objects, or digits.")
    record = earlier.read() if earlier else {}
    named = args.data or _place_of(earlier)
    data = _data(named, settings)
    if earlier:
        recipe = recipe_of(record)
    processes, main = settings.processes, settings.rank == 0
    place = experiment.Place(
        data=data,
        cache=data.cache,
        trackers=settings.trackers,
        backbones=settings.train_backbones,
        processes=processes,
        main=main,
    )
    if args.resume:
        run = earlier
    elif main:
        about = {"id": named if named in datasets.MADE else "", "name": Path(named).name, "fingerprint": data.fingerprint}
        counts = {"count": len(data.items), "classes": len(data.classes)}
        name = args.name or (f"{record['name']}-again" if record else Path(named).name)
        run = runs.new(name, {"recipe": recipe.as_dict(), "data": about | counts})
        (run.folder / "source.txt").write_text(named if named in datasets.MADE else str(Path(named).resolve()))
    else:
        run = Run(runs.home / "other-process")  # writes nothing
    assert run is not None
    for event in show(experiment.conduct(run, recipe, place, resume=bool(args.resume)), main):
        del event
    if main:
        result = run.read()["result"]
        low, high = result["interval"]
        print(f"{result['accuracy']:.1%} of {result['count']} {result['on']} pictures (95 %: {low:.1%} to {high:.1%})")
        if args.reproduce and earlier:
            found = verdict(earlier, run)
            run.update(again=found)
            print(
                found["verdict"], *(f"{d['what']}: {d['first']} / {d['second']}" for d in found["differences"]), sep="\n  "
            )
        print(run.folder)
    return 0


def _data(named: str, settings: Settings) -> DataSet:
    if named in datasets.MADE:
        return datasets.make(named, settings.train_folder / "data" / named)
    folder = Path(named)
    if not folder.is_dir():
        raise InvalidFile(f"There is no folder {named!r}. Name a folder of pictures, or objects, or digits.")
    data = DataSet.scan(folder)
    for problem in [p for p in data.problems if not p.used][:20]:
        print(f"left out: {problem.name}: {problem.what}", file=sys.stderr)
    return data


def _place_of(run: Run | None) -> str:
    """Where the pictures of an earlier run were."""
    path = run.folder / "source.txt" if run else None
    if path is None or not path.is_file():
        raise InvalidFile("Where the pictures of this run are is not known here; name the folder as well.")
    return path.read_text()


def show(events: Iterator[Event], main: bool) -> Iterator[Event]:
    """Passes events on with a progress bar on the terminal; a line an epoch where there is none."""
    from tqdm import tqdm

    bar: Any = None
    for event in events:
        if main and isinstance(event, Step):
            bar = bar or tqdm(total=event.steps, initial=event.step - 1, unit="step", disable=None)
            bar.update(event.step - bar.n)
            bar.set_postfix_str(f"epoch {event.epoch}, loss {event.loss:.3f}, {event.pictures_per_second:.0f} pictures/s")
        elif main and isinstance(event, Epoch):
            figures = f"loss {event.train_loss:.3f}, validation {event.validation_loss:.3f}"
            tqdm.write(f"Epoch {event.epoch}: {figures}, {event.validation_accuracy:.1%} right, {event.seconds:.1f} s")
        elif main and isinstance(event, Stage | Built) and not bar:
            words = event.words if isinstance(event, Stage) else f"{event.parameters / 1e6:.1f} M parameters, {event.source}"
            print(words, file=sys.stderr)
        yield event
    if bar:
        bar.close()


if __name__ == "__main__":
    sys.exit(main())
