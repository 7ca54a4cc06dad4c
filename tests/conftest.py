"""Tiny real components: random models of each family, and the embedded one in a running engine."""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("COMPILE_UNET", "0")  # it takes seconds of a core; tests/text_to_image/test_compiled.py has it
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here reaches for a network
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in the app: tests run beside others
if "PYTEST_XDIST_WORKER" in os.environ:  # "gw0": Gradio's apps of two workers do not try the same port at once
    os.environ.setdefault("GRADIO_SERVER_PORT", str(7860 + 100 * int(os.environ["PYTEST_XDIST_WORKER"][2:])))

import pytest

from lib import log
from lib.settings import EMBEDDED, Settings
from lib.text_to_image.model_loading import load
from lib.text_to_image.models import Model, Source
from tests import tiny

# modules whose tests look at a page while it moves: by one worker, and first, since they wait more than they compute
BROWSER = ("tests/e2e/", "tests/train/test_board_page.py", "tests/web/test_netron.py")

# Tests that try one thing on many inputs: of the whole suite's run every n-th, the others with -m slow. Whoever names a
# path gets them all.
SAMPLED = {
    "tests/convert/test_architectures.py::test_what_is_refused": 4,
    "tests/convert/test_cases.py::test_verdict": 4,
    "tests/convert/test_cases_tf.py::test_a_case": 3,
    "tests/convert/test_diffusers_single_file.py::test_noise_in_a_tensor_that_no_picture_needs_is_refused": 4,
    "tests/convert/test_hostile.py::test_a_hostile_file": 6,
    "tests/convert/test_planted_errors.py::test_a_planted_error_is_never_proven": 3,
    "tests/convert/test_public_reports.py::test_report": 4,
    "tests/convert/test_unseen.py::test_is_not_proven": 4,
    "tests/deploy/test_tree.py::test_every_module_that_a_tab_s_files_import_is_there": 4,
    "tests/e2e/test_accessibility.py::test_axe_finds_nothing_serious": 4,
    "tests/e2e/test_accessibility.py::test_the_keyboard_is_enough": 2,
    "tests/e2e/test_shell.py::test_an_address_opens_its_tab_and_no_other_one_first": 3,
    "tests/onnx_inspect/test_bad_files.py::test_a_bad_file": 8,
    "tests/onnx_inspect/test_bad_runs.py::test_a_bomb": 6,
    "tests/onnx_inspect/test_cost.py::test_a_torchvision_net_costs_what_torch_counts": 5,
    "tests/operate/test_doors.py::test_a_picture_is_counted_by_its_door": 2,
    "tests/spaces/test_alone.py::test_it_serves": 3,
    "tests/convert/test_torch_to_onnx.py::test_onnx_computes_the_same": 20,
    "tests/test_readme.py::test_python": 5,
    "tests/text_to_image/loras/test_pictures.py::test_rows_with_different_loras_share_a_batch": 3,
    "tests/text_to_image/prompts/test_pictures.py::test_rows_of_different_lengths_share_a_batch": 2,
    "tests/text_to_image/test_flow_families.py::test_a_row_is_what_the_plain_pipeline_makes": 3,
    "tests/text_to_image/test_image_to_image.py::test_a_row_is_what_the_pipelines_make": 4,
}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker a core for the whole suite; none where a path is named, since a worker takes seconds to start."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if named else min(4, len(os.sched_getaffinity(0)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By module, so that a fixture of a module is made once; what drives a browser is one scope."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return "browser" if module.startswith(BROWSER) else module

    return ByModule(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where a run of many modules spends its time."""
    reports = [r for some in terminalreporter.stats.values() for r in some if isinstance(r, pytest.TestReport)]
    seconds: Counter[str] = Counter()
    for report in reports:
        seconds[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]
    if len(seconds) > 10:
        terminalreporter.write_sep("=", f"seconds by module, of {seconds.total():.0f}")
        for module, spent in seconds.most_common(60):
            terminalreporter.write_line(f"{spent:7.1f}  {module}")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(BROWSER))
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return
    seen: Counter[str] = Counter()
    for item in items:
        test = item.nodeid.partition("[")[0]
        if seen[test] % SAMPLED.get(test, 1):
            item.add_marker("slow")
        seen[test] += 1
    if gone := SAMPLED.keys() - seen.keys():
        raise pytest.UsageError(f"SAMPLED in tests/conftest.py names tests that are not there: {', '.join(sorted(gone))}")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A library or a test that changes what is logged in this process does so for itself alone, and is named."""
    ours = [log.EVENTS, *(name for name in logging.root.manager.loggerDict if name.startswith("lib"))]
    loggers = [logging.root, *(logging.getLogger(name) for name in ours)]

    def state() -> tuple[Any, ...]:
        return logging.root.manager.disable, *((logger.level, logger.disabled, logger.propagate) for logger in loggers)

    before = state()
    yield
    if (after := state()) != before:
        warnings.warn(f"this test changed logging from {before} to {after}", stacklevel=1)
        logging.disable(before[0])
        for logger, (level, disabled, propagate) in zip(loggers, before[1:], strict=True):
            logger.setLevel(level)
            logger.disabled, logger.propagate = disabled, propagate


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved random models: sd (epsilon), sd2 (v), sdxl, sd3, flux and schnell; pixart for the families without a module."""
    home = tmp_path_factory.mktemp("models")
    for name, make in tiny.PIPELINES.items():
        make().save_pretrained(home / name)
    return {name: home / name for name in tiny.PIPELINES}


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Settings:
    """The embedded model and the random ones, on the CPU."""
    models = (EMBEDDED, *(f"{name}={folder}" for name, folder in folders.items()))
    data = tmp_path_factory.mktemp("data")
    return Settings(models=models, device="cpu", data_folder=data, loaded_models=4, compile_unet=False)


@pytest.fixture(scope="session")
def embedded(settings: Settings) -> Model:
    return load(Source.parse(EMBEDDED), settings)


@pytest.fixture(scope="session")
def sd(settings: Settings, folders: dict[str, Path]) -> Model:
    return load(Source(name="sd", folder=folders["sd"]), settings)


@pytest.fixture(scope="session")
def loaded(settings: Settings, folders: dict[str, Path]) -> dict[str, Model]:
    return {name: load(Source(name=name, folder=folder), settings) for name, folder in folders.items()}
