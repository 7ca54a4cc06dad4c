"""Environments of their own: made once, whole or not at all. A wheel made here stands in for the network's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import psutil
import pytest

from lib.convert import environments
from lib.convert.environments import Environment, build
from lib.errors import Cancelled, InvalidValue, JobFailed


def quiet(stage: str, share: float | None = None) -> None:
    assert stage and (share is None or 0 <= share <= 1)


def wheel(folder: Path, name: str, version: str, code: str) -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pins in the place of the real one, with three environments of one package."""
    folder = tmp_path / "pins"
    folder.mkdir()
    (folder / "small.txt").write_text(f"{wheel(folder, 'workbench_small', '1.0', 'WORD = 7')}\n")
    (folder / "over.txt").write_text(f"{wheel(folder, 'workbench_over', '1.0', 'import numpy')}\n")
    (folder / "absent.txt").write_text("no-such-package-anywhere==9.9\n")
    offline = ("--no-index",)
    made = (
        Environment(name="small", modules=("workbench_small",), megabytes=1, pip=offline),
        Environment(name="over", modules=("workbench_over",), megabytes=1, pip=offline, over_app=True),
        Environment(name="absent", modules=("absent",), megabytes=1, pip=offline),
    )
    monkeypatch.setattr(environments, "HERE", folder)
    monkeypatch.setattr(environments, "ENVIRONMENTS", {e.name: e for e in made})
    environments.missing.cache_clear()
    return folder


def test_every_environment_has_complete_pins() -> None:
    for name in environments.names():
        lines = environments.find(name).requirements.read_text().splitlines()
        pinned = [line for line in lines if line and not line.startswith("#")]
        assert pinned and all("==" in line for line in pinned), name
        assert pinned == sorted(set(pinned), key=pinned.index), name
    with pytest.raises(InvalidValue, match="tensorflow"):
        environments.find("../../etc")


def test_pins_that_the_app_has_too_are_the_same() -> None:
    """Arrays and files pass between environments: numpy, onnx and what reads them must agree."""
    root = Path(environments.__file__).parents[3]
    app = dict(line.split("==") for line in (root / "requirements.txt").read_text().split() if "==" in line)
    for name in environments.names():
        text = environments.find(name).requirements.read_text()
        for line in text.splitlines():
            package, _, version = line.partition("==")
            if version and package in app and package != "h5py":  # TensorFlow wants an older one, which reads the same files
                assert app[package] == version, (name, line)


def test_the_first_lines_of_a_list_of_pins_describe_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(
        "# modules: one two.three\n# megabytes: 7\n# over-app: yes\n# pip: --no-index -q\n# Words: why.\none==1.0\n"
    )
    wanted = Environment(name="mine", modules=("one", "two.three"), megabytes=7, over_app=True, pip=("--no-index", "-q"))
    assert environments.described(path) == wanted
    for text in ("one==1.0\n", "# modules: one\n", "# modules: one\n# megabytes: 7\n# over-the-app: yes\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"mine\.txt"):
            environments.described(path)


def test_tensorflow_never_sees_torch() -> None:
    tensorflow = environments.find("tensorflow")
    assert not tensorflow.over_app
    assert not [line for line in tensorflow.requirements.read_text().splitlines() if line.startswith(("torch", "triton"))]
    overlaid = [environments.find(n) for n in environments.names() if environments.find(n).over_app]
    assert not [e.name for e in overlaid if "tensorflow" in e.requirements.read_text()]


def test_what_cannot_be_made_here_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "PYTHONS", ((2, 7),))
    environments.missing.cache_clear()
    assert "Python 2.7" in environments.missing("tensorflow")
    monkeypatch.setattr(environments, "SYSTEM", ("Plan9", "vax"))
    environments.missing.cache_clear()
    assert "Plan9 on vax" in environments.missing("tensorflow")
    environments.missing.cache_clear()


def test_it_is_made_once_and_sees_only_its_own(pins: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made here"
    stages: list[str] = []
    assert environments.missing("small") == ""
    assert not environments.ready("small", folder)
    python = environments.ensure("small", folder, lambda stage, share=None: stages.append(stage))
    assert environments.ready("small", folder)
    assert {s.split(":")[-1].strip() for s in stages} >= {"installing 1 packages", "testing it"}
    code = "import workbench_small as w, importlib.util as u; print(w.WORD, u.find_spec('numpy'))"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["7", "None"]
    made = len(stages)
    assert environments.ensure("small", folder, lambda stage, share=None: stages.append(stage)) == python
    assert len(stages) == made
    with (pins / "small.txt").open("a") as file:
        file.write("# another text of pins\n")
    assert not environments.ready("small", folder)


APP = """
import sys
from pathlib import Path
from lib.convert import environments
from lib.convert.environments import Environment
environments.HERE = Path(sys.argv[1])
small = Environment(name="small", modules=("workbench_small",), megabytes=1, pip=("--no-index",))
environments.ENVIRONMENTS["small"] = small
environments.ensure("small", Path(sys.argv[2]), lambda *_: None)
print("made", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_what_another_app_uses_stays_until_it_ends(pins: Path, tmp_path: Path) -> None:
    """Two checkouts share a folder of data, with other pins."""
    folder, root = tmp_path / "made", Path(environments.__file__).parents[3]
    other = subprocess.Popen(
        [sys.executable, "-c", APP, str(pins), str(folder)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline() == "made\n"
    (old,) = folder.glob("small-*")
    for word in ("second", "third"):
        with (pins / "small.txt").open("a") as file:
            file.write(f"# {word}\n")
        if word == "third":
            other.stdin.close()
            other.wait()
            other.stdout.close()
        environments.ensure("small", folder, quiet)
        assert (old / environments.STAMP).is_file() is (word == "second")


@pytest.mark.slow
def test_an_environment_that_was_removed_is_made_again(pins: Path, tmp_path: Path) -> None:
    python = environments.ensure("small", tmp_path, quiet)
    shutil.rmtree(python.parents[1])
    assert environments.ensure("small", tmp_path, quiet) == python and python.exists()


def test_a_folder_that_cannot_be_written_says_so_without_a_path(pins: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JobFailed, match=r"cannot be created in the data folder: (Not a directory|File exists)") as caught:
        environments.ensure("small", tmp_path / "file" / "made", quiet)
    assert str(tmp_path) not in caught.value.message


@pytest.mark.slow
def test_over_the_app_it_sees_the_apps_packages(pins: Path, tmp_path: Path) -> None:
    python = environments.ensure("over", tmp_path, quiet)
    code = "import numpy, workbench_over, sys; print(numpy.__file__, sys.prefix, sep='\\n')"
    said = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    assert Path(said[0]).is_relative_to(sys.prefix)
    assert Path(said[1]) == python.parents[1]


@pytest.mark.slow
def test_a_failure_says_what_pip_says_and_leaves_nothing(pins: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with pytest.raises(JobFailed) as caught:
        environments.ensure("absent", folder, quiet)
    assert "no-such-package-anywhere==9.9" in caught.value.message
    assert str(tmp_path) not in caught.value.message and "/" not in caught.value.message
    assert [p.name for p in folder.iterdir()] == ["absent.lock"]


def test_a_stop_kills_the_making_and_leaves_nothing(pins: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    before = set(psutil.Process().children(recursive=True))  # of other tests
    running: list[psutil.Process] = []

    def stop(stage: str, share: float | None = None) -> None:
        running.extend(set(psutil.Process().children(recursive=True)) - before)
        if running:
            raise Cancelled()

    with pytest.raises(Cancelled):
        environments.ensure("small", folder, stop)
    gone, alive = psutil.wait_procs(running, timeout=30)
    assert gone and not alive
    assert [p.name for p in folder.iterdir()] == ["small.lock"]


def test_the_second_waits_and_can_be_stopped(pins: Path, tmp_path: Path) -> None:
    held, release, stages = threading.Event(), threading.Event(), []

    def hold() -> None:
        with environments._lock(tmp_path / "small.lock", "small", quiet):
            held.set()
            release.wait(20)

    def stop(stage: str, share: float | None = None) -> None:
        stages.append(stage)
        if len(stages) == 2:
            raise Cancelled()

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(5)
    with pytest.raises(Cancelled):
        environments.ensure("small", tmp_path, stop)
    release.set()
    other.join()
    assert stages == ["Waiting: the environment small is being created"] * 2


def test_too_little_disk_is_said_before(pins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "SPACE_MB", 1 << 40)
    with pytest.raises(JobFailed, match="MB are free"):
        environments.ensure("small", tmp_path, quiet)


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (
            ["Collecting x", "ERROR: No matching distribution found for x==1", "tail"],
            "No matching distribution found for x==1",
        ),
        (["ERROR: Could not install: [Errno 28] No space left: '/srv/secret/x'"], "[Errno 28] No space left: …"),
        (["Looking in https://user:word@host/simple"], "Looking in …"),
        ([], "no output"),
    ],
)
def test_the_useful_line_has_no_paths(lines: list[str], shown: str) -> None:
    said = build.useful(lines)
    assert shown in said and "/" not in said
