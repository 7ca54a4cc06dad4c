"""Exports one network of a diffusers pipeline to ONNX with torch's dynamo exporter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.convert.formats.diffusers.component import Component
from lib.errors import JobFailed
from lib.onnx_model.words import clean

if TYPE_CHECKING:
    import torch

MAX_INSIDE = 1_500_000_000  # bytes of weights; more are stored as external data, since protobuf is limited to 2 GB
EXAMPLE = {"batch": 2, "height": 2, "width": 3, "tokens": 16}  # height and width in multiples of ``part.multiple``


def export(part: Component, path: Path, fixed: dict[str, int] | None = None) -> None:
    """Writes ``part`` to ``path`` in float32. Symbols in ``fixed`` get that size, the others stay dynamic.

    Raises JobFailed with the exporter's message.
    """
    import torch

    fixed = fixed or {}
    dims: dict[str, Any] = {"batch": torch.export.Dim("batch", min=1, max=1 << 16)}
    dims["tokens"] = torch.export.Dim("tokens", min=2, max=1 << 16)
    for side in ("height", "width"):
        # a UNet halves and doubles its sizes; sizes that are no multiple would take other branches
        steps = torch.export.Dim(side if part.multiple == 1 else f"{side}_steps", min=1, max=1 << 12)
        dims[side] = steps if part.multiple == 1 else part.multiple * steps
    shapes, args = [], []
    for value in part.inputs:
        symbols = {axis: d for axis, d in enumerate(value.shape) if isinstance(d, str) and d not in fixed}
        shapes.append({axis: dims[symbol] for axis, symbol in symbols.items()})
        args.append(_example(value.dtype, [_size(d, fixed, part) for d in value.shape]))
    weights = sum(p.numel() * 4 for p in part.module.parameters())
    try:
        torch.onnx.export(
            part.module,
            tuple(args),
            path,
            input_names=[v.name for v in part.inputs],
            output_names=[v.name for v in part.outputs],
            dynamic_shapes=(tuple(shapes),),  # Called.forward takes *inputs
            external_data=weights > MAX_INSIDE,
            dynamo=True,
            verbose=False,
        )
    except Exception as error:  # torch.export's errors share no base class
        words = clean(str(error))[:200] or type(error).__name__
        raise JobFailed(f"torch could not export {part.name}: {words}") from error
    _name_dimensions(path, part, fixed)


def _size(dim: int | str, fixed: dict[str, int], part: Component) -> int:
    if isinstance(dim, int):
        return dim
    return fixed.get(dim) or EXAMPLE[dim] * (part.multiple if dim in ("height", "width") else 1)


def _example(dtype: str, shape: list[int]) -> torch.Tensor:
    import torch

    if dtype == "int64":
        return torch.ones(shape, dtype=torch.int64)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _name_dimensions(path: Path, part: Component, fixed: dict[str, int]) -> None:
    """Gives the dimensions of inputs and outputs the part's names, instead of the exporter's "4*height_steps" or "s77"."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for infos, values in ((model.graph.input, part.inputs), (model.graph.output, part.outputs)):
        for info, value in zip(infos, values, strict=True):
            for dim, symbol in zip(info.type.tensor_type.shape.dim, value.shape, strict=True):
                if not isinstance(symbol, str):
                    continue
                if dim.HasField("dim_value") != (symbol.rsplit("*")[-1] in fixed):
                    raise JobFailed(f"torch fixed {symbol!r} of {part.name}'s {value.name} at {dim.dim_value}; not usable.")
                if dim.HasField("dim_param"):
                    dim.dim_param = symbol
    del model.graph.value_info[:]  # they use the exporter's names
    onnx.save(model, path)
