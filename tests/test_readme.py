"""What the README shows works: its code runs, its commands are CI's, its pictures and links are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.spaces.conftest import address, app  # noqa: F401

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)


@pytest.mark.parametrize("code", blocks("python"))
def test_python(code: str, address: str, tmp_path: Path) -> None:  # noqa: F811
    code = code.replace("http://127.0.0.1:7860", address)
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert ".png 7 " in run.stdout


@pytest.mark.parametrize("code", blocks("bash"))
def test_curl(code: str, address: str, tmp_path: Path) -> None:  # noqa: F811
    code = code.replace("http://127.0.0.1:7860", address)
    run = subprocess.run(["bash", "-ec", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    for name in re.findall(r"-o (\S+)", code):
        assert Image.open(tmp_path / name).size == (128, 128)


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
