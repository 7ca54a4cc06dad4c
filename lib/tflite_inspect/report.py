"""The report in words: the verdict and the summary's lines. Needs no runtime, so a page may import it."""

from __future__ import annotations

from typing import Any

from lib.reports.words import exact, human, plural, size

UNKNOWN = "unknown"
SHOWN = 12
MAX_LABELS = 1000  # in an answer to a program; the editor's form has all of them


def shortened(report: dict[str, Any]) -> dict[str, Any]:
    """``report`` with the metadata as ``first_labels`` has them; one of another format is as it was."""
    found = report.get("metadata")
    return report | {"metadata": first_labels(found)} if report.get("format") == "tflite" and found else report


def first_labels(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata with their first labels, and ``labels_count`` of all."""
    return metadata | {"labels": metadata["labels"][:MAX_LABELS], "labels_count": len(metadata["labels"])}


def verdict(report: dict[str, Any]) -> str:
    """One sentence: does the runtime take it, and what else was found."""
    counts = {s: sum(p["severity"] == s for p in report["problems"]) for s in ("error", "warning", "info")}
    words = "Valid" if report["valid"] else f"Not a model that LiteRT accepts: {plural(counts['error'], 'error')}"
    rest = [plural(counts[s], word) for s, word in (("warning", "warning"), ("info", "note")) if counts[s]]
    return words + (f", {' and '.join(rest)}." if rest else ".")


def facts(report: dict[str, Any]) -> dict[str, str]:
    """The summary's lines: label and value, in plain text. What the file does not say is said to be unknown."""
    parameters, memory, metadata = report["parameters"], report["memory"], report["metadata"]
    bound = ", ".join(f"{k} = {v['value']}" for k, v in report["symbols"].items())
    dtypes = [f"{human(v['count'])} {k} ({size(v['bytes'])})" for k, v in parameters["by_dtype"].items()]
    counted = exact(report["macs"]) + (f", with {bound}" if bound else "")
    if len({s["graph"] for s in report["signatures"]}) > 1:
        counted += ", of the first graph; " + listed([f"{s['key']} {human(s['macs'])}" for s in report["signatures"]])
    if report["not_counted"]:
        counted += f"; {plural(sum(g['nodes'] for g in report['not_counted']), 'node')} not counted"
    peak = f"{size(memory['peak_bytes'])} at {memory['at']}" + (", at least" if memory["unknown"] else "")
    lines = {
        "File": size(report["file"]["bytes"]),
        "Format": f"TensorFlow Lite, schema {report['schema_version']}; TensorFlow Lite "
        + (f"{report['min_runtime']} or newer, as declared" if report["min_runtime"] else "version needed: unknown")
        + f" (read with LiteRT {report['litert']['version']})",
        "Parameters": exact(parameters["count"]) + (": " + ", ".join(dtypes) if dtypes else ""),
        "Quantisation": quantisation(report),
        "Operators": f"{sum(report['operators'].values()):,}, of {plural(len(report['operators']), 'kind')}: "
        + listed([f"{n} {k}" for k, n in report["operators"].items()]),
        "MACs": counted,
        "Peak activations": peak,
        "Signatures": listed([s["key"] for s in report["signatures"]]) or "none",
    }
    if report["doc_string"]:
        lines["Description"] = report["doc_string"][:500]
    if bundle := report.get("bundle"):
        lines["Bundle"] = f"{bundle['member']} of {bundle['name']}"
    return lines | _metadata(metadata)


def _metadata(found: dict[str, Any] | None) -> dict[str, str]:
    if found is None or not found["present"]:
        words = "none" if found else "damaged"
        return {"Metadata": f"{words}: labels, normalization, author and licence are unknown"}
    numbers = [", ".join(f"{v:g}" for v in found[k]) for k in ("mean", "std")]
    return {
        "Name": found["name"][:200] or UNKNOWN,
        **({"About": found["description"][:500]} if found["description"] else {}),
        "Author": found["author"][:200] or UNKNOWN,
        "Licence": found["license"][:200] or UNKNOWN,
        "Version": found["version"][:80] or UNKNOWN,
        "Labels": f"{len(found['labels']):,}: {listed(found['labels'])}" if found["labels"] else UNKNOWN,
        "Normalization": f"(x − {numbers[0]}) ÷ {numbers[1]}, of pixels 0 to 255" if found["std"] else UNKNOWN,
        **({"Files in it": listed([f"{f['name']} ({size(f['bytes'])})" for f in found["files"]])} if found["files"] else {}),
    }


def quantisation(report: dict[str, Any]) -> str:
    """How much of the weights is quantised, and in what inputs and outputs are."""
    parameters = report["parameters"]
    share = parameters["quantized"] / parameters["bytes"] if parameters["bytes"] else 0
    kinds = {t["quantization"]["kind"] for t in report["tensors"] if t["kind"] == "weight" and t["quantization"]}
    weights = f"{share:.0%} of the bytes of weights" + (f", {' and '.join(sorted(kinds))}" if kinds else "")
    made = [t for t in report["tensors"] if t["kind"] == "activation" and t["quantization"]]
    activations = f"{len(made):,} activations with scales" if made else "activations are not"
    return f"{weights}; {activations}" if share or made else "none"


def quantised(found: dict[str, Any] | None) -> str:
    """Of one tensor: ``scale 0.0078, zero point -128``; "" where it has none."""
    if not found:
        return ""
    if found["count"] is None:
        return found["kind"]
    scales, zeros = found["scale"], found["zero_point"] or [0]
    if found["count"] == 1:
        return f"scale {_number(scales[0])}, zero point {zeros[0]}"
    low, high = (f(v for v in scales if v is not None) if any(v is not None for v in scales) else None for f in (min, max))
    points = f"zero point {zeros[0]}" if len(set(zeros)) == 1 else f"zero points {', '.join(map(str, zeros))}"
    more = "first of them " if found["count"] > len(scales) else ""
    return f"{found['count']:,} scales along axis {found['axis']} ({more}{_number(low)} to {_number(high)}), {points}"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def listed(some: list[str]) -> str:
    return ", ".join(one[:80] for one in some[:SHOWN]) + ", …" * (len(some) > SHOWN)
