"""A board answers what the trackers wrote, follows a run that is written, and never tells where it is."""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from werkzeug.test import Client, TestResponse

from lib.train.board import Boards
from lib.train.trackers import Embeddings, Graph, Histogram, HyperParameters, Picture, PrecisionRecall, Text, open_trackers

TAGS = ["loss", "weights", "mistakes", "recipe/text_summary", "pr", "features", "result/accuracy"]


def write_run(folder: Path, last: int = 3) -> None:
    """A run with every kind of value."""
    rng = np.random.default_rng(0)
    tracker = open_trackers(["tensorboard"], folder, folder.name)
    for step in range(1, last + 1):
        tracker.log({"loss": 1 / step, "weights": Histogram.of(torch.randn(100))}, step)
    sprites = rng.integers(0, 255, (5, 8, 8, 3), np.uint8)
    tracker.log(
        {
            "mistakes": Picture(sprites[0]),
            "recipe": Text("| a | b |\n|---|---|\n| 1 | 2 |"),
            "pr": PrecisionRecall(np.array([True, False]), np.array([0.9, 0.2])),
            "features": Embeddings(rng.normal(size=(5, 4)), list("abcde"), sprites),
            "recipe ": HyperParameters({"epochs": 3, "backbone": "lite0"}, {"result/accuracy": 0.9}),
            "graph": Graph(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), torch.rand(1, 2)),
        },
        last,
    )
    tracker.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("somewhere-on-this-machine") / "visitors" / "ada" / "runs"
    for name in ("first", "second"):
        write_run(folder / name)
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> Client:
    return Client(Boards().app(runs))


def answer(client: Client, path: str, **query: str) -> Any:
    response = client.get(path, query_string=query)
    assert response.status_code == 200, response.text
    return json.loads(response.data)


# What is shown


def test_every_kind_of_value_has_its_place(client: Client) -> None:
    listing = answer(client, "/data/plugins_listing")
    assert set(listing) == {
        *("timeseries", "scalars", "images", "graphs", "distributions", "histograms"),
        *("text", "pr_curves", "hparams", "projector"),
    }
    assert all(plugin["enabled"] for plugin in listing.values())
    assert answer(client, "/data/runs") == ["first", "second"]


def test_the_values_are_those_that_were_logged(client: Client) -> None:
    scalars = answer(client, "/data/plugin/scalars/scalars", run="first", tag="loss")
    assert [(step, value) for _, step, value in scalars] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    histograms = answer(client, "/data/plugin/histograms/histograms", run="first", tag="weights")
    assert [sum(count for *_, count in buckets) for _, _, buckets in histograms] == [100, 100, 100]
    text = answer(client, "/data/plugin/text/text", run="first", tag="recipe/text_summary")
    assert "<table>" in text[0]["text"]
    curve = answer(client, "/data/plugin/pr_curves/pr_curves", run="first", tag="pr")["first"]
    assert curve[0]["precision"][0] == 0.5
    assert len(client.get("/data/plugin/projector/tensor?run=first&name=features:00003").data) == 5 * 4 * 4
    config = answer(client, "/data/plugin/projector/info", run="first")
    assert config["embeddings"][0]["tensorPath"] == "00003/features/tensors.tsv"
    assert b"ReLU" in client.get("/data/plugin/graphs/graph?run=first&conceptual=false").data


def test_time_series_are_asked_for_by_post(client: Client) -> None:
    requests = json.dumps([{"plugin": "scalars", "tag": "loss"}])
    response = client.post("/data/plugin/timeseries/timeSeries", data={"requests": requests})
    (series,) = json.loads(response.data)
    assert [point["value"] for point in series["runToSeries"]["second"]] == [1.0, 0.5, pytest.approx(1 / 3)]


def test_the_page_asks_for_its_fonts_beside_it(client: Client) -> None:
    page = client.get("/").text
    assert "url(/" not in page and "url(font-roboto/" in page
    name = page.split("url(font-roboto/")[1].split(")")[0]
    assert client.get(f"/font-roboto/{name}").data.startswith(b"wOF2")
    assert len(gzip.decompress(client.get("/index.js", headers={"Accept-Encoding": "gzip"}).data)) > 1_000_000


# What is not told


def crawl(client: Client) -> list[tuple[str, TestResponse]]:
    """Every address of the board's data, plain and with each parameter that it may want, in each spelling."""
    board = client.application
    paths = sorted(board._app.exact_routes)
    data = [path for path in paths if path.startswith("/data")]
    assert len(data) > 40
    values = {
        "run": ["first", "../..", "/etc", "nobody"],
        "tag": [*TAGS, "none"],
        "name": ["features:00003", "../../../etc/passwd", "none", "projector"],
    }
    queries = [""]
    queries += [
        f"?run={quote(r, safe='')}&tag={quote(t, safe='')}" for r, t in itertools.product(values["run"], values["tag"])
    ]
    queries += [
        f"?run={quote(r, safe='')}&name={quote(n, safe='')}" for r, n in itertools.product(values["run"], values["name"])
    ]
    queries += [f"?tag={quote(t, safe='')}&sample=0&index=0" for t in values["tag"]] + [
        "?name=projector",
        "?run=first&num_rows=0",
    ]
    answers = [(path, client.get(path, headers={"Accept-Encoding": ""})) for path in paths]
    for path in data:
        answers += [(path + query, client.get(path + query)) for query in queries]
        answers += [(prefix + path, client.get(prefix + path)) for prefix in ("/experiment/x", "/experiment/")]
        answers.append((path + "/", client.get(path + "/")))
        for body in ({}, [], {"experimentName": "", "runNames": ["first"]}, {"tag": "loss", "runs": ["first"]}):
            answers.append((f"POST {path}", client.post(path, json=body)))
            answers.append((f"POST {path} form", client.post(path, data={k: str(v) for k, v in dict(body).items()})))
    answers += [("fuzz", client.get(path)) for path in ("//data/logdir", "/data//logdir", "/data/logdir?x=1", "/%2e%2e/etc")]
    return answers


@pytest.mark.filterwarnings("ignore")
def test_no_answer_shows_a_path_of_the_machine(client: Client, runs: Path) -> None:
    secrets = {str(runs), str(runs.parent), "visitors/ada", tempfile.gettempdir(), str(Path.home()), sys.prefix, os.getcwd()}
    answers = crawl(client)
    assert sum(response.status_code == 200 for _, response in answers) > 200
    for path, response in answers:
        static = path.split("?")[0] in client.application._app.exact_routes and not path.startswith(("/data", "POST"))
        told = f"{response.headers}".encode() + response.data
        for secret in secrets if not static else {str(runs), "visitors/ada"}:
            assert secret.encode() not in told, path
        if response.status_code >= 400:
            assert list(json.loads(response.data)) == ["error"], path


def test_an_answer_with_a_path_would_be_found(runs: Path) -> None:
    """The original app, to know that the test above can fail."""
    from tensorboard.plugins.core.core_plugin import CorePluginLoader

    client = Client(Boards().app(runs))
    core = CorePluginLoader(include_debug_info=True)
    from argparse import Namespace

    from tensorboard.plugins.base_plugin import TBContext

    flags = Namespace(logdir=str(runs), logdir_spec="", path_prefix="")
    client.application._app.exact_routes.update(core.load(TBContext(flags=flags, logdir=str(runs))).get_plugin_apps())
    assert str(runs).encode() in client.get("/data/logdir").data


def test_a_broken_request_is_an_error_without_details(runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = Client(Boards().app(runs))

    def broken(environ: Any, start_response: Any) -> Any:
        raise RuntimeError(f"no {runs}")

    client.application._app.exact_routes["/data/runs"] = broken
    response = client.get("/data/runs")
    assert (response.status_code, response.json) == (500, {"error": "TensorBoard failed on this request."})
    assert "no /" in caplog.text  # the log has it


# A run that is written meanwhile


def test_runs_appear_as_they_are_written_and_go_when_they_are_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "not yet" / "runs"
    client = Client(Boards(every=0.0).app(folder))
    assert answer(client, "/data/runs") == [] and answer(client, "/data/environment")["data_location"] == ""
    tracker = open_trackers(["tensorboard"], folder / "first", "first")
    for step in (1, 2):
        tracker.log({"loss": float(step)}, step)
        deadline = time.monotonic() + 10
        while True:
            response = client.get("/data/plugin/scalars/scalars?run=first&tag=loss")
            if response.status_code == 200 and len(json.loads(response.data)) == step:
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
    tracker.close()
    write_run(folder / "second")
    assert answer(client, "/data/runs") == ["first", "second"]
    assert answer(client, "/data/plugin/projector/runs") == ["second"]
    shutil.rmtree(folder / "first")
    answer(client, "/data/runs")
    assert answer(client, "/data/runs") == ["second"]
    write_run(folder / "first")
    assert set(answer(client, "/data/runs")) == {"first", "second"}


def test_a_run_resumed_after_a_kill_goes_on(tmp_path: Path) -> None:
    client = Client(Boards(every=0.0).app(tmp_path))
    write_run(tmp_path / "first", last=5)
    answer(client, "/data/runs")
    (events,) = (tmp_path / "first").glob("events.*")
    events.write_bytes(events.read_bytes()[:-7])  # in the middle of an event
    time.sleep(1.1)
    tracker = open_trackers(["tensorboard"], tmp_path / "first", "first", first_step=3)
    for step in (3, 4, 5, 6):
        tracker.log({"loss": 9.0}, step)
    tracker.close()
    for board in (client, Client(Boards().app(tmp_path))):  # one that was there all the time, and a new one
        scalars = answer(board, "/data/plugin/scalars/scalars", run="first", tag="loss")
        assert [(s, v) for _, s, v in scalars] == [(1, 1.0), (2, 0.5), (3, 9.0), (4, 9.0), (5, 9.0), (6, 9.0)]


def test_events_are_read_at_most_every_few_seconds(runs: Path) -> None:
    board = Boards(every=60).app(runs)
    client, read = Client(board), []
    reload = board._events.Reload  # type: ignore[attr-defined]
    board._events.Reload = lambda: read.append(reload())  # type: ignore[attr-defined]
    client.get("/")
    assert not read  # the page itself needs none
    for _ in range(3):
        answer(client, "/data/runs")
    assert len(read) == 1


def test_the_first_answers_wait_for_the_events_and_later_ones_do_not(runs: Path) -> None:
    board = Boards(every=0.0).app(runs)
    reload, go, counts = board._events.Reload, threading.Event(), []  # type: ignore[attr-defined]
    board._events.Reload = lambda: (go.wait(10), reload())  # type: ignore[attr-defined]

    def ask() -> None:
        counts.append(len(answer(Client(board), "/data/runs")))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert not counts
    go.set()
    for thread in threads:
        thread.join()
    assert counts == [2, 2, 2]
    go.clear()
    slow = threading.Thread(target=ask)
    slow.start()
    time.sleep(0.2)
    ask()  # while the other one reads
    assert len(counts) == 4
    go.set()
    slow.join()


# Many of them


def test_the_boards_looked_at_last_are_kept(tmp_path: Path) -> None:
    boards = Boards(most=2)
    first, second = boards.app(tmp_path / "1"), boards.app(tmp_path / "2")
    assert boards.app(tmp_path / "1") is first
    boards.app(tmp_path / "3")
    assert len(boards) == 2
    assert boards.app(tmp_path / "1") is first and boards.app(tmp_path / "2") is not second
    boards.close()
    assert len(boards) == 0


def test_a_board_that_nobody_asks_is_dropped(tmp_path: Path) -> None:
    boards = Boards(idle=0.2)
    boards.app(tmp_path / "1")
    boards.app(tmp_path / "2")
    time.sleep(0.25)
    kept = boards.app(tmp_path / "2")
    assert len(boards) == 1 and boards.app(tmp_path / "2") is kept


def test_a_board_that_is_dropped_leaves_nothing(runs: Path) -> None:
    boards, threads = Boards(most=1), threading.active_count()
    files = len(os.listdir("/proc/self/fd"))
    client = Client(boards.app(runs))
    for path in ("/data/plugins_listing", "/data/plugin/projector/runs", "/data/runs"):
        answer(client, path)
    gone = weakref.ref(client.application), weakref.ref(client.application._events)
    del client
    boards.app(runs.parent)
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert threading.active_count() <= threads and len(os.listdir("/proc/self/fd")) <= files


def test_twenty_boards_cost_little_more_than_one(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    boards = Boards()
    boards.app(tmp_path / "first")
    process = psutil.Process()
    before, threads = process.memory_info().rss, threading.active_count()
    for number in range(19):
        answer(Client(boards.app(tmp_path / str(number))), "/data/plugins_listing")
    assert process.memory_info().rss - before < 20e6
    assert threading.active_count() <= threads


def test_importing_the_board_does_not_import_tensorboard() -> None:
    code = (
        "import sys; import lib.train.board; lib.train.board.Boards().close();"
        "print({'torch', 'tensorboard', 'werkzeug'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
