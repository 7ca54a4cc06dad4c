"""There and back again, every step proven: a picture network, and the embedded Stable Diffusion's UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.convert.service.converter import Converter, Source


def proven(converter: Converter, source: Source, target: str, out: Path) -> dict[str, Any]:
    out.mkdir()
    found = converter.convert(source, target, {}, out).result()
    assert found["report"]["verdict"] == "proven", found["report"]["reason"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["torchvision:mobilenet_v3_small", "diffusers:tiny-scenes/unet"])
def test_pytorch_to_onnx_to_pytorch_to_onnx(converter: Converter, name: str, tmp_path: Path) -> None:
    first = proven(converter, Source(name=name), "onnx", tmp_path / "1")
    given = {path.name: path for path in sorted(Path(first["onnx"]).iterdir())}
    second = proven(converter, Source(files=given), "pt2", tmp_path / "2")
    program = Path(second["artifact"])
    third = proven(converter, Source(files={program.name: program}), "onnx", tmp_path / "3")
    before, after = (found["report"]["target"] for found in (first, third))
    assert [v["name"] for v in before["inputs"]] == [v["name"] for v in after["inputs"]]
    assert after["inputs"][0]["shape"][0] == before["inputs"][0]["shape"][0] == "batch"
