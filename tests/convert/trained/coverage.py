"""Trained models through the converter: ``python -m tests.convert.trained.coverage [--only NAME] [--write]``.

Every model is made, converted to every target and judged by the converter and by the independent check. A line of JSON
each goes to ``trained_coverage.jsonl`` in the temporary folder; an interrupted run goes on where it was, and ``--only``
(a model, or model:target) runs those again. ``--without-samples`` leaves the user's samples out and writes to a
log of its own. ``--made`` keeps the models in a folder. ``--write`` puts the table into ``docs/coverage.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from lib.convert.service.converter import Converter
from lib.settings import Settings
from tests.convert.trained import corpus
from tests.convert.trained.rows import CANNOT, Row, row
from tests.convert.trained.table import table

DOCS = Path(__file__).parents[3] / "docs" / "coverage.md"
START, END = "<!-- trained-models -->", "<!-- /trained-models -->"


def log(samples: bool) -> Path:
    return Path(tempfile.gettempdir()) / f"trained_coverage{'' if samples else '_without_samples'}.jsonl"


def read(file: Path) -> dict[tuple[str, str], Row]:
    """The last line for every model and target."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {(r["model"], r["target"]): Row(**r) for r in map(json.loads, lines)}


def run(only: list[str], samples: bool, made: Path) -> dict[tuple[str, str], Row]:
    known = read(log(samples))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    converter = Converter(Settings(jobs=1))
    try:
        for name in corpus.makers():
            wanted = [o.partition(":")[2] for o in only if o.partition(":")[0] == name]
            if only and not wanted:
                continue
            subject = corpus.make(name, made / name)
            for target in subject.targets:
                again = target in wanted or "" in wanted
                if (only and not again) or (not only and (name, target) in known):
                    continue
                found = row(converter, subject, target, samples=samples)
                known[name, target] = found
                with log(samples).open("a") as file:
                    file.write(json.dumps(found.as_dict()) + "\n")
                print(line(found), flush=True)
    finally:
        converter.close()
    return known


def line(r: Row) -> str:
    mark = "WRONG" if r.wrongly_proven else "withheld" if r.wrongly_withheld else ""
    second = "" if r.second is None else f", onnxruntime {100 * r.second:.1f} %"
    return f"{mark:8} {r.model} -> {r.target}: {r.verdict} | {r.truth}{second} | {r.reason[:160]} | {r.seconds:.0f} s"


def write(rows: list[Row], about: dict[str, Any]) -> None:
    text = DOCS.read_text()
    if START not in text:
        text = f"{text.rstrip()}\n\n{START}\n{END}\n"
    before, _, rest = text.partition(START)
    DOCS.write_text(f"{before}{START}\n{table(rows, about)}{END}{rest.partition(END)[2]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--without-samples", action="store_true")
    parser.add_argument("--made", type=Path, default=Path(tempfile.gettempdir()) / "trained_models")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--as-logged", action="store_true", help="convert nothing, take what the log has")
    given = parser.parse_args()
    samples = not given.without_samples
    known = read(log(samples)) if given.as_logged else run(given.only, samples, given.made)
    rows = [known[name, t] for name in corpus.makers() for t in _targets(known, name)]
    about = {name: corpus.make(name, given.made / name) for name in dict.fromkeys(r.model for r in rows)}
    print(table(rows, about))
    cannot = sum(r.verdict == CANNOT for r in rows)
    print(f"{len(rows)} conversions, {cannot} cannot, {sum(r.wrongly_proven for r in rows)} wrongly proven")
    if given.write:
        write(rows, about)


def _targets(known: dict[tuple[str, str], Row], name: str) -> list[str]:
    return [target for model, target in known if model == name]


if __name__ == "__main__":
    main()
