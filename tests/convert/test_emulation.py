"""What float16 and int8 must give of a source: right files are proven, planted errors are not. Real tools make the files.

Over 300 lines, since each format's right files stand beside its planted errors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lib.convert import formats
from lib.convert.emulation.draws import Emulation
from lib.convert.emulation.emulated import emulated
from lib.convert.emulation.faithfulness import assess
from lib.convert.emulation.numbers import nearest, rounded, shifted
from tests.convert import models, tflite_models

Arrays = dict[str, np.ndarray]


def images(count: int = 6) -> list[Arrays]:
    rng = np.random.default_rng(1)
    return [{"image": rng.standard_normal((2, 3, 16, 16)).astype(np.float32)} for _ in range(count)]


def half(source: Path, target: Path) -> Path:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(str(source / "model.onnx")), keep_io_types=True)
    return models.save(model, target)


def dynamic(source: Path, target: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target.mkdir(parents=True)
    quantize_dynamic(
        str(_folded(source, target)), str(target / "model.onnx"), per_channel=True, weight_type=QuantType.QUInt8
    )
    return target


def static(source: Path, target: Path) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = images()

        def get_next(self) -> Arrays | None:
            return self.left.pop() if self.left else None

    target.mkdir(parents=True)
    quantize_static(
        *(str(_folded(source, target)), str(target / "model.onnx"), Reader()),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
    )
    return target


def _folded(source: Path, beside: Path) -> Path:
    """Batch norms folded by onnxruntime, as the tools want it: their weights are others than the source's."""
    import onnxruntime

    path = beside.parent / f"{beside.name}-folded.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(str(source / "model.onnx"), options, providers=["CPUExecutionProvider"])
    return path


TOOLS: dict[str, tuple[Callable[[Path, Path], Path], str]] = {
    "onnx-fp16": (half, "fp16"),
    "onnx-int8-dynamic": (dynamic, "int8"),
    "onnx-int8-static": (static, "int8"),
}


def outputs(format: str, folder: Path, inputs: list[Arrays]) -> list[Arrays]:
    runner = formats.load(format, folder)
    found = [runner.run(some) for some in inputs]
    runner.close()
    return found


def verdict(format: str, source: Path, target: Path, inputs: list[Arrays], *, weights: bool = True) -> dict:
    """``weights`` False: as if none had been matched."""
    from_format = "tflite" if format.startswith("tflite") else "onnx"
    found = emulated(format, source, target, inputs, 0)
    assert found is not None
    if not weights:
        found.weights, found.compared = [], 0
    expected, ours = outputs(from_format, source, inputs), outputs(format, target, inputs)
    return assess(expected, ours, found, "fp16" if "16" in format else "int8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("emulation")
    out = {"source": models.save(models.conv_net(), folder / "source")}
    for format, (tool, _) in TOOLS.items():
        out[format] = tool(out["source"], folder / format)
    return out


@pytest.mark.parametrize("format", TOOLS)
def test_what_a_tool_makes_is_proven_with_and_without_its_weights(format: str, made: dict[str, Path]) -> None:
    found = verdict(format, made["source"], made[format], images())
    assert found.verdict == "proven", found.reason
    assert found.figures["weights_compared"] >= 3
    assert 0.3 < found.figures["whole"] < 2  # the emulation is neither far too coarse nor far too fine
    assert verdict(format, made["source"], made[format], images(), weights=False).verdict == "proven"


def changed(folder: Path, to: Path, change: Callable[[dict[str, TensorProto]], None]) -> Path:
    model = onnx.load(str(folder / "model.onnx"))
    change({t.name: t for t in model.graph.initializer})
    return models.save(model, to)


def put(tensor: TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values), tensor.name))


def largest(tensors: dict[str, TensorProto]) -> TensorProto:
    """The last layer's weights, float or integers."""
    return next(t for n, t in tensors.items() if n.startswith("fc.weight") and len(t.dims) == 2)


def flipped(tensors: dict[str, TensorProto]) -> None:
    tensor = largest(tensors)
    values = numpy_helper.to_array(tensor).copy()
    wide = values.astype(np.float64)
    middle = 128.0 if values.dtype == np.uint8 else 0.0
    place = np.unravel_index(np.abs(wide - middle).argmax(), wide.shape)
    values[place] = np.clip(2 * middle - wide[place], 0 if middle else -np.inf, 255 if middle else np.inf)
    put(tensor, values)


def scaled(tensors: dict[str, TensorProto]) -> None:
    tensor = tensors.get(largest(tensors).name.removesuffix("_quantized") + "_scale") or largest(tensors)
    values = numpy_helper.to_array(tensor)
    put(tensor, (values.astype(np.float32) * 1.1).astype(values.dtype))


def swapped(tensors: dict[str, TensorProto]) -> None:
    values = numpy_helper.to_array(largest(tensors)).copy()
    values[:, [2, 3]] = values[:, [3, 2]]
    put(largest(tensors), values)


@pytest.mark.parametrize("change", [flipped, scaled, swapped])
@pytest.mark.parametrize("format", TOOLS)
def test_a_wrong_weight_is_found_and_named(format: str, change: Callable, made: dict[str, Path], tmp_path: Path) -> None:
    target = changed(made[format], tmp_path / "wrong", change)
    found = verdict(format, made["source"], target, images())
    assert (found.verdict, found.method) == ("failed", "rounding")
    assert "'fc.weight" in found.reason


@pytest.mark.parametrize("change", [scaled, swapped])
@pytest.mark.parametrize("format", TOOLS)
def test_it_is_seen_in_the_outputs_alone(format: str, change: Callable, made: dict[str, Path], tmp_path: Path) -> None:
    target = changed(made[format], tmp_path / "wrong", change)
    assert verdict(format, made["source"], target, images(), weights=False).verdict != "proven"


@pytest.mark.parametrize("format", TOOLS)
def test_normalised_twice_is_failed(format: str, made: dict[str, Path]) -> None:
    plain = images()
    twice = [{"image": (some["image"] - 0.5) / 0.5} for some in plain]
    found = emulated(format, made["source"], made[format], plain, 0)
    expected, ours = outputs("onnx", made["source"], plain), outputs(format, made[format], twice)
    assert assess(expected, ours, found, TOOLS[format][1]).verdict == "failed"


def test_a_range_of_other_inputs_is_named(made: dict[str, Path]) -> None:
    """Pixels of 0 to 255 after a calibration on numbers around 1."""
    large = [{"image": some["image"] * 100} for some in images()]
    found = verdict("onnx-int8-static", made["source"], made["onnx-int8-static"], large)
    assert found.verdict == "failed" and "cuts off" in found.reason


def test_a_scale_that_is_not_taken_back_is_named(made: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(str(made["onnx-int8-static"] / "model.onnx"))
    taker = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and "image" in n.output[0])
    scale = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == taker.input[1])
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(scale * np.float32(1.5)), "other"))
    taker.input[1] = "other"
    found = verdict("onnx-int8-static", made["source"], models.save(model, tmp_path / "wrong"), images())
    assert found.verdict == "failed" and "dequantised with" in found.reason


def test_names_that_did_not_survive_are_no_complaint(made: dict[str, Path], tmp_path: Path) -> None:
    for format in TOOLS:
        model = onnx.load(str(made[format] / "model.onnx"))
        names = {t.name: f"t{k}" for k, t in enumerate(model.graph.initializer)}
        names |= {name: f"n{k}" for k, name in enumerate(n for node in model.graph.node for n in node.output)}
        names |= {v.name: v.name for v in (*model.graph.input, *model.graph.output)}
        for tensor in model.graph.initializer:
            tensor.name = names[tensor.name]
        for node in model.graph.node:
            node.input[:], node.output[:] = [names.get(n, n) for n in node.input], [names.get(n, n) for n in node.output]
        del model.graph.value_info[:]
        found = verdict(format, made["source"], models.save(model, tmp_path / format), images())
        assert found.verdict == "proven", (format, found.reason)


def test_float16_that_overflows_inside_is_not_proven(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "k"], ["a"]), helper.make_node("Div", ["a", "k"], ["y"])]
    ends = [[("x", TensorProto.FLOAT, ["n", 4])], [("y", TensorProto.FLOAT, ["n", 4])]]
    source = models.save(models.made(nodes, *ends, {"k": np.array(1000.0, np.float32)}, 17), tmp_path / "source")
    inputs = [{"x": np.full((2, 4), 70.0 + k, np.float32)} for k in range(3)]
    found = verdict("onnx-fp16", source, half(source, tmp_path / "half"), inputs)
    assert found.verdict != "proven" and "not finite" in found.reason
    expected = outputs("onnx", source, inputs)
    broken = [{"y": some["y"] * np.inf} for some in expected]
    given = emulated("onnx-fp16", source, tmp_path / "half", inputs, 0)
    assert assess(expected, broken, given, "fp16").verdict == "failed"


def tflite_inputs() -> list[Arrays]:
    rng = np.random.default_rng(2)
    return [{"x": rng.standard_normal((3, 8)).astype(np.float32)} for _ in range(6)]


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from tests.convert.edge_run import convert

    folder = tmp_path_factory.mktemp("lite")
    source = tflite_models.dense(folder / "source")[0]
    for format in ("tflite-fp16", "tflite-int8"):
        convert("tflite", format, source, folder / format)
    return {"source": source, "tflite-fp16": folder / "tflite-fp16", "tflite-int8": folder / "tflite-int8"}


@pytest.mark.parametrize("format", ["tflite-fp16"])
def test_tflite_is_proven_and_a_wrong_weight_is_not(format: str, lite: dict[str, Path], tmp_path: Path) -> None:
    found = verdict(format, lite["source"], lite[format], tflite_inputs())
    assert found.verdict == "proven", found.reason
    from lib.tflite import file as tflite_file

    model = tflite_file.read(lite[format] / tflite_file.NAME)
    values = max(
        (v for t in model["subgraphs"][0]["tensors"] if (v := tflite_file.stored(model, t)) is not None and v.ndim == 2),
        key=lambda v: v.size,
    )
    whole = np.frombuffer(model["whole"], np.uint8)
    at = values.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    wrong = bytearray(model["whole"])
    wrong[at : at + values.nbytes] = (-values).tobytes()
    (tmp_path / tflite_file.NAME).write_bytes(wrong)
    found = verdict(format, lite["source"], tmp_path, tflite_inputs())
    assert found.verdict == "failed" and "rounded" in found.reason
    assert verdict(format, lite["source"], tmp_path, tflite_inputs(), weights=False).verdict == "failed"


def test_rows_that_a_mask_switches_off_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    expected = [{"y": rng.standard_normal((2, 5, 8))} for _ in range(4)]
    drawn = [[{"y": e["y"] + 0.01 * rng.standard_normal(e["y"].shape)} for e in expected] for _ in range(5)]
    ours = [{"y": e["y"] + 0.01 * rng.standard_normal(e["y"].shape)} for e in expected]
    mask = np.ones((2, 5), bool)
    mask[1, 3:] = False
    for some in ours:
        some["y"][1, 3:] += 7
    found = Emulation(outputs=drawn[0], draws=drawn[1:], masks=[mask] * 4)
    assert assess(expected, ours, found, "fp16").verdict == "proven"
    found.masks = [None] * 4
    assert assess(expected, ours, found, "fp16").verdict == "failed"


def test_a_small_class_that_hardly_moves_decides_nothing_and_one_that_moves_does() -> None:
    rng = np.random.default_rng(0)
    size = np.array([1.0] * 59 + [1e-3])

    def noise() -> np.ndarray:
        return 0.02 * size * rng.standard_normal((40, 60))

    expected = [{"y": size * rng.standard_normal((40, 60))} for _ in range(3)]
    drawn = [[{"y": e["y"] + noise()} for e in expected] for _ in range(5)]
    for off, wanted in ((0.004 * np.eye(60)[59], "proven"), (0.2 * np.eye(60)[1], "failed")):
        ours = [{"y": e["y"] + noise() + off * rng.standard_normal((40, 1))} for e in expected]
        assert assess(expected, ours, Emulation(outputs=drawn[0], draws=drawn[1:]), "int8").verdict == wanted


def test_nothing_is_proven_where_any_file_would_pass() -> None:
    rng = np.random.default_rng(0)
    expected = [{"y": rng.standard_normal((4, 6))} for _ in range(3)]
    drawn = [[{"y": rng.standard_normal((4, 6)) * 2} for _ in expected] for _ in range(5)]
    ours = [{"y": rng.standard_normal((4, 6))} for _ in expected]
    found = assess(expected, ours, Emulation(outputs=drawn[0], draws=drawn[1:]), "int8")
    assert found.verdict == "unproven" and "any file" in found.reason
    assert assess(expected, ours, None, "int8").verdict == "unproven"


def test_rounding_is_to_the_nearest_and_drawn_rounding_as_exact() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(2000), [0.0, 1.0, 1e6, -1e6]]).astype(np.float32)
    assert nearest(values)[-2:].tolist() == [65504, -65504]
    plain, drawn = nearest(values)[:2000] - values[:2000], shifted(values, rng)[:2000] - values[:2000]
    assert 0 < plain.std() < 2 * drawn.std() < 8 * plain.std() and not np.array_equal(plain, drawn)
    assert shifted(values, rng)[2000:2002].tolist() == [0, 1]
    ends, scale, zero = np.iinfo(np.int8), np.array(0.05), np.array(3.0)
    near, moved = (rounded(values[:2000], scale, zero, ends, g) - values[:2000] for g in (None, rng))
    inside = np.abs(values[:2000]) < 5
    assert np.abs(near[inside]).max() <= 0.0251 and np.abs(moved[inside]).max() <= 0.0251
    assert abs(near.std() / moved.std() - 1) < 0.1


def test_a_model_without_a_lossy_hop_has_no_emulation(made: dict[str, Path]) -> None:
    assert emulated("onnx-slim", made["source"], made["source"], images(1), 0) is None


def test_the_source_is_not_changed(made: dict[str, Path]) -> None:
    before = (made["source"] / "model.onnx").read_bytes()
    emulated("onnx-int8-static", made["source"], made["onnx-int8-static"], images(1), 0)
    assert (made["source"] / "model.onnx").read_bytes() == before


def test_the_same_seed_gives_the_same_draws(made: dict[str, Path]) -> None:
    one, two, other = (emulated("onnx-fp16", made["source"], made["onnx-fp16"], images(1), seed) for seed in (0, 0, 1))
    assert one is not None and two is not None and other is not None
    assert np.array_equal(one.draws[0][0]["scores"], two.draws[0][0]["scores"])
    assert not np.array_equal(one.draws[0][0]["scores"], other.draws[0][0]["scores"])


def test_one_row_of_many_classes_is_judged_by_all_of_them() -> None:
    """Nothing moves there, and each class alone was drawn a few times only."""
    rng = np.random.default_rng(3)
    expected = [{"y": rng.standard_normal((1, 1000))}]
    for wrong, wanted in ((0.0, "proven"), (2.0, "failed")):
        verdicts = []
        for _ in range(20):
            drawn = [[{"y": expected[0]["y"] + 0.1 * rng.standard_normal((1, 1000))}] for _ in range(4)]
            ours = [{"y": expected[0]["y"] + 0.1 * rng.standard_normal((1, 1000)) + wrong * np.eye(1000)[7]}]
            verdicts.append(assess(expected, ours, Emulation(outputs=drawn[0], draws=drawn[1:]), "int8").verdict)
        assert verdicts.count(wanted) >= 19
