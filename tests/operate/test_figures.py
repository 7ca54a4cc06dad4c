"""The dashboard, the alerts and docs/operate.md speak of metrics that exist, with labels that they have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from lib import metrics
from lib.metrics import MAX_SIZES, OTHER, size_label
from web.metrics import Gauges

DOCS = Path(__file__).parent.parent.parent / "docs"
SERIES = re.compile(r"\b((?:workbench|process)_\w+)(?:\{([^}]*)\})?")
EVERYWHERE = {"job", "instance"}  # Prometheus adds them


def known() -> dict[str, set[str]]:
    """Series and their labels, as ``/metrics`` shows them."""
    found: dict[str, set[str]] = {}
    for metric in metrics.REGISTRY._collector_to_names:
        labels = set(metric._labelnames)  # type: ignore[attr-defined]
        for kind in ("_bucket", "_sum", "_count") if metric._type == "histogram" else ("_total",):  # type: ignore[attr-defined]
            found[metric._name + kind] = labels | ({"le"} if kind == "_bucket" else set())  # type: ignore[attr-defined]
    found |= {f"{metrics.PREFIX}_{name}": set(labels) for name, (_, labels) in metrics.GAUGES.items()}
    own = CollectorRegistry()
    ProcessCollector(registry=own)
    return found | {sample.name: set() for family in own.collect() for sample in family.samples}


def queries() -> list[str]:
    board = json.loads((DOCS / "grafana.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    found += [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    rules = yaml.safe_load((DOCS / "alerts.yml").read_text())
    return found + [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def faults(query: str) -> list[str]:
    """Series that nobody has, and labels that they have not."""
    series, found, labels = known(), [], set(EVERYWHERE)
    for name, selected in SERIES.findall(query):
        if name not in series:
            found.append(name)
            continue
        labels |= series[name]
        wanted = {part.split("=")[0].strip("!~ ") for part in re.findall(r"\w+\s*(?:=~|!~|!=|=)", selected)}
        found += [f"{name}{{{label}}}" for label in wanted - series[name] - EVERYWHERE]
    for group in re.findall(r"by \(([^)]*)\)", query):
        found += [f"by ({label})" for label in map(str.strip, group.split(",")) if label not in labels]
    return found


@pytest.mark.parametrize("query", queries())
def test_queries_name_what_there_is(query: str) -> None:
    assert SERIES.search(query) and not faults(query)


def test_the_check_can_fail() -> None:
    assert faults("sum(workbench_nothing_total)") == ["workbench_nothing_total"]
    assert faults('workbench_jobs_total{door="rest"}') == ["workbench_jobs_total{door}"]
    assert faults("sum by (prompt) (workbench_ready)") == ["by (prompt)"]


def test_the_dashboard_shows_every_metric() -> None:
    text = (DOCS / "grafana.json").read_text()
    for name in known():
        assert name.startswith("process_") or re.sub(r"_(bucket|sum|count)$", "", name) in text, name


def test_the_table_lists_every_metric_with_its_labels() -> None:
    rows = re.findall(r"^\| `(\w+)` \|\s*([^|]*?)\s*\|", (DOCS / "operate.md").read_text(), re.M)
    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows if name.startswith("workbench_")}
    wanted = {re.sub(r"_(bucket|sum|count)$", "", n): labels - {"le"} for n, labels in known().items()}
    assert listed == {name: labels for name, labels in wanted.items() if name.startswith("workbench_")}


def test_alerts_are_rules() -> None:
    rules: list[dict[str, Any]] = yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"][0]["rules"]
    assert all(rule["annotations"]["summary"] and rule["labels"]["severity"] in ("page", "ticket") for rule in rules)
    listed = set(re.findall(r"`(Workbench\w+)`", (DOCS / "operate.md").read_text()))
    assert listed == {rule["alert"] for rule in rules}
    if promtool := shutil.which("promtool"):
        subprocess.run([promtool, "check", "rules", DOCS / "alerts.yml"], check=True, stdout=subprocess.DEVNULL)


def test_a_visitor_s_sizes_make_no_end_of_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_sizes", set())
    seen = [size_label(8 * n, 64) for n in range(1, MAX_SIZES + 3)]
    assert seen[0] == "8x64" and seen[MAX_SIZES:] == [OTHER, OTHER] and size_label(8, 64) == "8x64"


def test_gauges_show_what_is_read() -> None:
    families = {f.name: f for f in Gauges(lambda: {"requests_waiting": [(("m",), 3.0)]}).collect()}
    (sample,) = families["workbench_requests_waiting"].samples
    assert sample.labels == {"model": "m"} and sample.value == 3 and not families["workbench_requests_running"].samples
