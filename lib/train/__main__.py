"""Trains from the command line: ``python -m lib.train FOLDER --epochs 3``.

FOLDER holds one folder of images per class, or is ``objects`` or ``digits``. The run is stored with the app's own runs
(DATA_FOLDER), so the app lists it if TRAIN_SHARED=1. ``accelerate launch --num_processes 2 -m lib.train FOLDER`` splits
every batch across processes. Ctrl-C stops after the last complete epoch; ``--resume RUN`` continues. ``--export
model.tflite`` writes a file for mobile apps once it agrees with the trained network; an earlier run can be exported with
``--run RUN --export model.onnx``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from lib.errors import InvalidFile, WorkbenchError
from lib.settings import Settings, prepare_library
from lib.train import datasets, experiment
from lib.train.data import DataSet
from lib.train.edge import save, targets
from lib.train.recipe import FRAMEWORKS, PRECISIONS, TECHNIQUES, WEIGHTS, Recipe
from lib.train.reproduce import verdict
from lib.train.run_record import DataReference, RunRecord
from lib.train.runs import Run, Runs
from lib.train.terminal import Stages, sentence, show

HELP = {
    "framework": f"{' or '.join(FRAMEWORKS)}; ",
    "weights": f"{' or '.join(WEIGHTS)}; ",
    "technique": f"{' or '.join(TECHNIQUES)}; ",
    "mixed_precision": f"{', '.join(PRECISIONS)}; ",
    "epochs": "0: the technique's default; ",
    "image_size": "pixels per side; ",
    "early_stop": "epochs without improvement, 0: never; ",
    "validation": "share of the training pictures, unless there is val/; ",
}


def parser() -> argparse.ArgumentParser:
    """Returns the argument parser, with an option for each field of the recipe."""
    ap = argparse.ArgumentParser(
        prog="python -m lib.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("data", nargs="?", help="a folder with one folder of pictures per class, or objects, or digits")
    ap.add_argument("--name", default="", help="the run's name; by default the folder's name")
    ap.add_argument("--runs", type=Path, help="where runs are stored; by default the app's own folder")
    earlier = ap.add_mutually_exclusive_group()
    earlier.add_argument("--resume", metavar="RUN", help="resume a run that was stopped or interrupted")
    earlier.add_argument("--reproduce", metavar="RUN", help="train a run again and compare")
    earlier.add_argument("--run", metavar="RUN", help="a run that has ended, for --export")
    ap.add_argument("--export", metavar="FILE", type=Path, help="write .tflite (float32, metadata inside) or .onnx")
    ap.add_argument("--target", default="", help=f"--export to {', '.join(targets.TARGETS)}; default: by FILE's suffix")
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
    """Returns the exit status: 0, 2 for an invalid option or a withheld file, 130 if interrupted."""
    ap = parser()
    args = ap.parse_args(words)
    settings = Settings.from_environment()
    home = args.runs or settings.train_folder / "visitors" / "shared" / "runs"
    runs = Runs(home)
    prepare_library(KERAS_BACKEND="torch")
    try:
        if args.list:
            for record in runs.records():
                result = record.result
                accuracy = f"{result.accuracy:.1%} of {result.count} {result.on} pictures" if result else "–"
                print(f"{record.id}  {record.status:<11}  {accuracy}")
            return 0
        values = {f.name: getattr(args, f.name) for f in fields(Recipe) if getattr(args, f.name) is not None}
        if args.export:  # fail before the training, not after it
            save.writable_path(args.export), save.target_of(args.export, args.target)
        elif args.run or args.target:
            raise InvalidFile("Also name the file to write: --export model.tflite.")
        run, data = _earlier(args, runs, settings) if args.run else _train(args, Recipe.parse(values), runs, settings)
        try:
            if args.export and settings.rank == 0:
                row = save.save(run, data, args.export, args.target, settings, Stages())
                print(f"{args.export.name}: {sentence(row)}")
        finally:
            if settings.rank == 0:
                print(run.folder)  # always the last line, even if the file is withheld
        return 0
    except WorkbenchError as error:
        print(f"{ap.prog}: {error.message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The last complete epoch is kept: continue with --resume.", file=sys.stderr)
        return 130


def _earlier(args: argparse.Namespace, runs: Runs, settings: Settings) -> tuple[Run, DataSet]:
    run = runs.find(args.run)
    return run, _data(args.data, settings) if args.data else _data_of(run, settings)


def _train(args: argparse.Namespace, recipe: Recipe, runs: Runs, settings: Settings) -> tuple[Run, DataSet]:
    earlier = runs.find(args.resume or args.reproduce) if args.resume or args.reproduce else None
    if earlier is None and not args.data:
        raise InvalidFile("Name a folder of pictures, or objects, or digits.")
    record = earlier.record() if earlier else RunRecord()
    source = args.data or _place_of(earlier)
    data = _data(source, settings) if args.data else _data_of(earlier, settings)
    if earlier:
        recipe = record.used_recipe()
    processes, main = settings.processes, settings.rank == 0
    context = experiment.RunContext(
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
        reference = DataReference(
            id=source if source in datasets.MAKERS else "",
            name=Path(source).name,
            fingerprint=data.fingerprint,
            count=len(data.items),
            classes=len(data.classes),
        )
        name = args.name or (f"{record.name}-again" if earlier else Path(source).name)
        run = runs.new(name, {"recipe": recipe.as_dict(), "data": asdict(reference)})
        (run.folder / "source.txt").write_text(source if source in datasets.MAKERS else str(Path(source).resolve()))
    else:
        run = Run(runs.home / "other-process")  # writes nothing
    assert run is not None
    for event in show(experiment.run_training(run, recipe, context, resume=bool(args.resume)), main):
        del event
    if main:
        result = run.record().result
        assert result is not None
        low, high = result.interval
        print(f"{result.accuracy:.1%} of {result.count} {result.on} pictures (95 %: {low:.1%} to {high:.1%})")
        if args.reproduce and earlier:
            reproduction = verdict(earlier, run)
            run.update(again=asdict(reproduction))
            print(reproduction.verdict, *(f"{d.what}: {d.first} / {d.second}" for d in reproduction.differences), sep="\n  ")
    return run, data


def _data(named: str, settings: Settings) -> DataSet:
    if named in datasets.MAKERS:
        return datasets.make(named, settings.train_folder / "data" / named)
    folder = Path(named)
    if not folder.is_dir():
        raise InvalidFile(f"There is no folder {named!r}. Name a folder of pictures, or objects, or digits.")
    data = DataSet.scan(folder)
    for problem in [p for p in data.problems if not p.used][:20]:
        print(f"left out: {problem.name}: {problem.what}", file=sys.stderr)
    return data


def _data_of(run: Run | None, settings: Settings) -> DataSet:
    source = _place_of(run)
    # image_classifier trains on subsets of folders, which a scan cannot reconstruct
    return DataSet.load(Path(source)) if (Path(source) / "data.json").is_file() else _data(source, settings)


def _place_of(run: Run | None) -> str:
    """Returns the path of an earlier run's images."""
    path = run.folder / "source.txt" if run else None
    if path is None or not path.is_file():
        raise InvalidFile("The location of this run's pictures is not known here; name the folder as well.")
    return path.read_text()


if __name__ == "__main__":
    sys.exit(main())
