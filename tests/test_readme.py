"""What the README and docs/api.md show works: the code runs, the commands are CI's, pictures and links are there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from lib.onnx_inspect.examples import EXAMPLES
from lib.settings import EMBEDDED, Settings
from tests.spaces.conftest import serve

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT + (ROOT / "docs" / "api.md").read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def address(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole app, as ``python app.py`` serves it."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("app")
        own = replace(settings, default_model=EMBEDDED, data_folder=home / "data")
        for workbench in serve(own, patch, home / "gradio", ("text_to_image", "onnx_inspect", "convert", "train")):
            yield workbench.address


# what the README's Python prints
SAYS = {
    "/convert": r"proven \S+ On \d+ sets.*\nproven 0\.\d+ \['",
    "/text_to_image": r"\.png 7 ",
    "/train": r"0\.\d+ \[0\.\d+, \d\.\d+\] test [\d.]+\nidentical \['done', 'done'\]",
    "/build_onnx": r"True 96 batch = 8, as given\.\nTrue 0\.\d+",
}


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, address: str, tmp_path: Path) -> None:
    expected = next(says for name, says in SAYS.items() if name in code)
    code = code.replace("http://127.0.0.1:7860", address)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    assert re.search(expected, run.stdout), run.stdout


def test_no_listener_of_a_page_takes_a_door_s_name(address: str) -> None:
    from gradio_client import Client

    named = Client(address, verbose=False).view_api(return_format="dict", print_info=False)["named_endpoints"]
    documented = set(re.findall(r"`(/[a-z_]+)`", (ROOT / "docs" / "api.md").read_text())) | {"/text_to_image", "/train"}
    assert documented <= set(named), sorted(named)
    assert not [name for name in named if re.search(r"_\d+$", name)]


def test_no_tool_s_schema_refers_to_what_stands_elsewhere(address: str) -> None:
    tools = httpx.get(f"{address}/gradio_api/mcp/schema").json()
    assert len(tools) > 10 and not [tool["name"] for tool in tools if "$ref" in json.dumps(tool)]


JSON_SAYS = {
    "report.json": lambda found: found["valid"] and found["macs"] == 96,
    "result.json": lambda found: found["agree"] and found["seed"] == 1,
    "conversions.json": lambda found: {"onnx-slim", "onnx-fp16"} <= {row["target"] for row in found},
}


@pytest.mark.parametrize("code", blocks("bash"))
def test_curl(code: str, address: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(EXAMPLES["linear"]().SerializeToString())
    np.savez(tmp_path / "samples.npz", X=np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32))
    code = code.replace("http://127.0.0.1:7860", address)
    run = subprocess.run(["bash", "-ec", code], cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    for name in re.findall(r"-o (\S+)", code):
        if name.endswith(".json"):
            assert JSON_SAYS[name](json.loads((tmp_path / name).read_text())), name
        elif name.endswith(".zip"):
            with zipfile.ZipFile(tmp_path / name) as archive:
                if name == "pictures.zip":
                    assert archive.namelist() == ["7.png", "8.png", "9.png", "10.png"]
                    continue
                assert json.loads(archive.read("report.json"))["verdict"] == "proven"
        else:
            assert Image.open(tmp_path / name).size == (128, 128)


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(TEXT.splitlines()) <= 250


def test_the_test_command_is_what_ci_runs() -> None:
    command = "pip install -r requirements-dev.txt && python -m pytest"
    assert f"```\n{command}\n```" in TEXT and command in (ROOT / ".ci" / "run").read_text().splitlines()
    assert "```\npip install -r requirements.txt && python app.py\n```" in TEXT


def test_links_lead_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        *ROOT.glob("spaces/*/README.md"),
        *ROOT.glob("models/*/README.md"),
        *ROOT.glob("docs/*.md"),
    ]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("card", [ROOT / "README.md", *ROOT.glob("spaces/*/README.md")], ids=lambda p: str(p.parent.name))
def test_space_cards(card: Path) -> None:
    front = dict(re.findall(r"^(\w+): (.+)$", card.read_text().split("---")[1], re.M))
    pins = dict(re.findall(r"^([\w\[\]-]+)==(\S+)", (card.parent / "requirements.txt").read_text(), re.M))
    assert front["sdk"] == "gradio" and front["sdk_version"] == pins["gradio[mcp]"]
    assert front["python_version"] == '"3.12"' and front["license"] == "apache-2.0"
    assert (ROOT / front["app_file"]).is_file() and len(front["short_description"]) <= 60
    root_pins = dict(re.findall(r"^([\w\[\]-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.M))
    assert pins.items() <= root_pins.items()
