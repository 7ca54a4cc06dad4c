"""Measures how often the proof detects the flipped sign of a single weight in torchvision's mobilenet_v3_small as ONNX.

    python benchmarks/convert_sign_flips.py [--flips 60]

Each flip is at a random position of a random weight tensor. Flips that are not detected change no output by more than
the rounding tolerance. Prints the range of output errors for each verdict.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

sys.path.insert(0, str(Path(__file__).parent.parent))

from lib.convert.edges import architecture_to_onnx
from lib.convert.formats.onnx.runner import OnnxRunner
from lib.convert.formats.pytorch import architectures
from lib.convert.proof import cases as proof_cases
from lib.convert.proof.measures import Pair
from lib.convert.proof.verdict import decide


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=60)
    flips = parser.parse_args().flips
    folder = Path(tempfile.mkdtemp())
    source, target = folder / "source", folder / "target"
    source.mkdir()
    target.mkdir()
    config = folder / "config.json"
    config.write_text(json.dumps({"image_size": 64}))
    architectures.prepare("torchvision:mobilenet_v3_small", None, config, source)
    options = {"opset": "default", "dynamic": True}
    architecture_to_onnx.convert(lambda *_: None, source, target, options)
    runner = OnnxRunner(target)
    cases = proof_cases.cases(runner.signature())
    expected = [runner.run(case.arrays) for case in cases]
    model = onnx.load(str(target / "model.onnx"))
    weights = [t for t in model.graph.initializer if len(t.dims) > 1 and t.data_type == TensorProto.FLOAT]
    rng = np.random.default_rng(0)
    errors_by_verdict: dict[str, list[float]] = {}
    for _ in range(flips):
        tensor = weights[rng.integers(len(weights))]
        before, values = tensor.SerializeToString(), numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[rng.integers(values.size)] *= -1
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        wrong = Path(tempfile.mkdtemp(dir=folder))
        onnx.save(model, str(wrong / "model.onnx"))
        tensor.ParseFromString(before)
        wrong_runner = OnnxRunner(wrong)
        pairs = [Pair(c.kind, e, wrong_runner.run(c.arrays), "", c.sizes) for c, e in zip(cases, expected, strict=True)]
        decision = decide(pairs, "fp32")
        errors_by_verdict.setdefault(decision.verdict, []).append(decision.range_error)
    for verdict, errors in sorted(errors_by_verdict.items()):
        print(f"{verdict}: {len(errors)} of {flips}; errors {min(errors):.1e} to {max(errors):.1e} of the output's range")


if __name__ == "__main__":
    main()
