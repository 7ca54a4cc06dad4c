"""Packs a result: the artifact, and a zip with the artifact, its report and a model card.

Packs only the files that the proof ran on, bit for bit.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from lib.convert.core.artifact import digests
from lib.convert.formats import find, main_file
from lib.errors import JobFailed

# stored uncompressed: deflate gains nothing on weights
STORED = (".safetensors", ".data", ".bin", ".pt2", ".pt", ".keras", ".zip")


def pack(format: str, folder: str, report: dict[str, Any], stem: str, out: str) -> dict[str, Any]:
    """Writes to ``out``; returns the names of the ``artifact``, the ``package`` and, for ONNX, the folder ``onnx``.

    The artifact is one file, or a zip of several. If the verdict is not ``proven``, a single file's name says so; several
    files refer to one another by name, so they keep theirs, in a folder whose name says so. Raises JobFailed if the files
    are not those of the report.
    """
    source, target = Path(folder), Path(out)
    if (checksums := digests(source)) != report["target"]["files"]:
        changed = checksums.items() ^ report["target"]["files"].items()
        raise JobFailed(f"{min(changed)[0][-80:]!r} was changed after the proof started; nothing is returned.")
    mark = "" if report["verdict"] == "proven" else ".unproven"
    files = {name: source / name for name in checksums}
    main_path = main_file(format, source)
    single = len(files) == 1 and main_path.is_file()
    # such as -fp16, so that the name differs from the source's
    variant = format.removeprefix(find(format).base) if find(format).base else ""
    artifact = f"{stem}{variant}{mark}{main_path.suffix}" if single else f"{stem}{mark}-{format}.zip"
    if single:  # the same name on its own, in the zip and in the inspector
        files = {artifact: main_path}
    elif mark:
        files = {f"model{mark}/{name}": file for name, file in files.items()}
    if single:
        shutil.copyfile(main_path, target / artifact)
    else:
        _zip(target / artifact, files, {})
    package = f"{stem}{mark}-{format}-with-report.zip"
    _zip(target / package, files, {"report.json": json.dumps(report, indent=2, allow_nan=False), "README.md": card(report)})
    inspect = "inspect" if find(format).on_disk == "onnx" else None
    if inspect:
        for name, file in ({artifact: main_path} if single else {n: source / n for n in checksums}).items():
            (target / inspect / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / inspect / name)
    return {"artifact": artifact, "package": package, "onnx": inspect}


def _zip(path: Path, files: dict[str, Path], texts: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, file in files.items():
            archive.write(file, name, zipfile.ZIP_STORED if file.suffix in STORED else zipfile.ZIP_DEFLATED)
        for name, text in texts.items():
            archive.writestr(name, text)


def card(report: dict[str, Any]) -> str:
    """Returns the model card as Markdown."""
    source, target = report["source"], report["target"]
    lines = [
        f"# {_plain(target['title'])}, converted from {_plain(source['title'])}",
        "",
        f"**{report['verdict'].capitalize()}.** {_plain(report['reason'])}",
        "",
        "| step | tool | precision | seconds | verdict | largest error / range, made-up inputs too |",
        "|---|---|---|---|---|---|",
    ]
    for hop in report["route"]:
        error = hop.get("range_error")
        shown = "–" if error is None else f"{error:.2g}"
        columns = f"{hop['source']} → {hop['target']} | {_plain(hop['tool'])} | {hop['precision']}"
        lines.append(f"| {columns} | {hop['seconds']:.1f} | {hop['verdict']} | {shown} |")
    lines += ["", "| | source | target |", "|---|---|---|", f"| bytes | {source['bytes']:,} | {target['bytes']:,} |"]
    fed = bool(source.get("inputs"))  # a file of weights has no inputs, hence no seeds and no latency
    if fed and source.get("median_ms") and target.get("median_ms"):
        where = "one process" if report.get("same_process") else "a process each"
        lines.append(f"| median latency, {where} | {source['median_ms']:.2f} ms | {target['median_ms']:.2f} ms |")
    if fed:
        lines += ["", "## Inputs", "", *_values(target.get("inputs", []))]
    lines += ["", "## Outputs" if fed else "## Tensors", "", *_values(target.get("outputs", []))]
    if report["messages"]:
        lines += ["", "## Messages", "", *(f"- {_plain(m)}" for m in report["messages"])]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    seeds = f" Seeds: {report['seeds']}." if fed else ""
    return "\n".join([*lines, "", f"Made by Model Workbench with {versions}.{seeds}", ""])


def _values(values: list[dict[str, Any]]) -> list[str]:
    shapes = (", ".join(_plain(str(size)) for size in v["shape"]) for v in values)
    return [f"- `{_plain(v['name'])}` {_plain(v['dtype'])} `[{shape}]`" for v, shape in zip(values, shapes, strict=True)]


def _plain(text: str) -> str:
    """Returns text without line breaks and markup, since names and parts of messages come from uploads."""
    return "".join(c if c.isprintable() and c not in "`<>|[]" else " " for c in text)
