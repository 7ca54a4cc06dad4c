"""Random weights that expose conversion errors: every layer contributes and outputs change with the inputs.

Freshly initialised models hide errors: zero biases, layer scales of 1e-6, zero heads, uncalibrated batch norms, pooled
features that are the same for every image. Layers are rescaled by their statistics on random inputs (the idea of
layer-sequential unit-variance initialisation, Mishkin and Matas 2015).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

from lib.convert.formats.pytorch import samples
from lib.convert.proof import cases as proof_cases
from lib.convert.proof import measures
from lib.model_inputs.signature import Signature

BATCHES = (100, 101, 102, 103)  # seeds, in a random stream that the proof does not use
MIN_VARIATION = 0.1  # fraction of an output's peak; the proof requires 1e-2
# class scores of detection models: aim for few detections with distinct scores, not hundreds that differ by rounding
DEVIATION, DETECTIONS = 3.0, 20  # standard deviation of a score; detections per image before non-maximum suppression
SIGMOIDS, SOFTMAX, PLACES = "cls_logits", "cls_score", "classification_head.module_list"  # substrings of layer names
BACKGROUND = 20.0  # mean background logit of SSD heads, which score the background at every location
SMALL_SCALE = 0.1  # a layer scale below this effectively disables its block


def randomize_and_calibrate(flat: Any, signature: Signature, seed: int) -> str:
    """Randomizes and calibrates the weights of ``flat.model`` in place; returns a description of what was done."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _randomize_constants(flat.model, generator)
        steps = _calibrate(flat, signature, large=True)
        # calibrated with large inputs too, the model may barely react to ordinary ones
        if flat.style != "detection" and least_movement(flat, signature) < MIN_VARIATION:
            steps = _calibrate(flat, signature, large=False)
    return ", ".join([f"random weights (seed {seed})", *steps])


def _calibrate(flat: Any, signature: Signature, *, large: bool) -> list[str]:
    """Calibrates batch norms on generated inputs; rescales layers too if outputs barely move.

    ``large``: the last batch holds large inputs. Returns what was done.
    """
    batches = _batches(flat, signature, large)
    steps = ["batch norms calibrated"] if _calibrate_norms(flat, batches) else []
    if flat.style == "detection" or least_movement(flat, signature) < MIN_VARIATION:
        # rescaling before the norms are calibrated keeps large inputs in range, even in float16; rescaling during
        # calibration fits each layer to the inputs it will receive
        first = large and flat.style != "detection"
        with _levelled(flat, len(batches[0][0])):
            if first or not _calibrate_norms(flat, batches):
                flat(*batches[0])
        if first:
            _calibrate_norms(flat, batches)
        steps.append("layers rescaled so that outputs depend on the inputs")
    return steps


def _batches(flat: Any, signature: Signature, large: bool) -> list[tuple[Any, ...]]:
    """Generates the calibration inputs; ``large``: images of the last batch are scaled by ``LARGE_SCALE``."""
    sizes = samples.sizes(signature, 0) | ({"batch": 3} if "batch" in signature.symbols() else {})
    batches = [samples.make(signature, sizes, k) for k in BATCHES]
    if large:  # far outside its calibrated range, a network amplifies rounding errors without bound
        batches[-1] = tuple(
            t * proof_cases.LARGE_SCALE if v.role == "image" else t
            for t, v in zip(batches[-1], signature.inputs, strict=True)
        )
    if flat.style == "detection" or "batch" in signature.symbols():
        # one joint batch: a norm normalises each batch on its own, so it must see small and large inputs together
        batches = [_joined(batches)]
    return batches


def least_movement(flat: Any, signature: Signature) -> float:
    """Returns the smallest movement of any output between inputs, as a fraction of its peak, measured as in the proof."""
    import torch

    pairs = []
    for case in proof_cases.cases(signature, BATCHES[:2], stream=proof_cases.CALIBRATION):
        if case.kind in ("ordinary", "resized"):
            with torch.inference_mode():
                outputs = flat(*(torch.from_numpy(case.arrays[v.name]) for v in signature.inputs))
            arrays = {name: tensor.numpy() for name, tensor in zip(flat.names, outputs, strict=True)}
            pairs.append(measures.Pair(case.kind, arrays, None))
    least = 1.0
    for name, value in pairs[0].expected.items():
        if any(not p.expected[name].size for p in pairs):
            return 0.0  # no detections
        if value.dtype.kind == "f":
            peak = max(measures.peak(p.expected[name]) for p in pairs)
            movement = measures.movement(name, pairs, peak)
            least = min(least, 1.0 if movement is None else movement)
    return least


def _randomize_constants(model: Any, random: Any) -> None:
    """Replaces constant parameters by random values: zero biases and heads, norms of ones, tiny layer scales."""
    import torch

    padded = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    for name, weight in model.named_parameters():
        if not weight.is_floating_point() or weight.numel() < 2:
            continue
        low, high = weight.min().item(), weight.max().item()
        scale = any(word in name for word in ("layer_scale", "lambda", "gamma"))
        if scale and low == high and 0 < abs(high) < SMALL_SCALE:
            weight.uniform_(0.5, 1.0, generator=random)
        elif low == high == 0:
            width = weight[0].numel() if weight.ndim > 1 and id(weight) not in padded else 2500
            weight.normal_(0, width**-0.5, generator=random)
        elif low == high == 1:
            weight.uniform_(0.7, 1.3, generator=random)


def _calibrate_norms(flat: Any, batches: list[tuple[Any, ...]]) -> bool:
    """Sets the running statistics of all batch norms from ``batches``; other modules stay in eval mode.

    Returns whether the model has batch norms.
    """
    import torch

    norms = [m for m in flat.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [m.momentum for m in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative average over the batches
            norm.train()
        for batch in batches if norms else ():
            flat(*batch)
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.eval()
    return bool(norms)


@contextmanager
def _levelled(flat: Any, pictures: int) -> Any:
    """Context in which each linear and convolution layer is rescaled once, to zero mean and unit std per channel.

    Layers without a bias are only scaled. Class scores of detection models use the statistics of the ordinary images
    only (all ``pictures`` but the last) and are shifted so that few locations per image get a high score.
    """
    import torch

    layer_types = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
    seen: set[int] = set()
    score_layers = {
        id(module): score_kind
        for name, module in flat.named_modules()
        for score_kind in (SIGMOIDS, SOFTMAX, PLACES)
        if flat.style == "detection" and isinstance(module, layer_types) and score_kind in name and "rpn." not in name
    }
    background_stride = {
        id(layer): head.num_columns
        for head in flat.modules()
        if type(head).__name__ in ("SSDClassificationHead", "SSDLiteClassificationHead")
        for layer in head.modules()
        if isinstance(layer, layer_types)
    }

    def level(module: Any, _: Any, given: Any) -> Any:
        """Forward hook: rescales the layer once by its output ``given``; returns the output of the rescaled layer."""
        output = given
        if id(module) in seen or module.weight.shape[0] < 2 or getattr(module, "transposed", False):
            return None
        seen.add(id(module))
        axis = 1 if isinstance(module, torch.nn.modules.conv._ConvNd) else output.ndim - 1
        other_axes = [k for k in range(output.ndim) if k != axis]
        if output.numel() // output.shape[axis] < 2:
            return None
        view = [-1 if k == axis else 1 for k in range(output.ndim)]
        score_kind = score_layers.get(id(module), "") if module.bias is not None else ""
        if score_kind in (SIGMOIDS, SOFTMAX):
            output = output[: len(output) * (pictures - 1) // pictures]
        factor = (DEVIATION if score_kind else 1.0) / output.std(other_axes).clamp_min(1e-6)
        module.weight.mul_(factor.view(-1, *[1] * (module.weight.ndim - 1)))
        if module.bias is None:
            return output * factor.view(view)
        shift = -factor * output.mean(other_axes)
        levelled = output * factor.view(view) + shift.view(view)
        if score_kind == SIGMOIDS:
            shift -= _among_the_first(levelled, pictures - 1)
        elif score_kind == SOFTMAX:
            shift[0] += _among_the_first(levelled[:, 1:].amax(1) - levelled[:, 0], pictures - 1)
        elif id(module) in background_stride:
            shift[:: background_stride[id(module)]] += BACKGROUND
        module.bias.copy_(module.bias * factor + shift)
        return given * factor.view(view) + shift.view(view)

    hooks = [m.register_forward_hook(level) for m in flat.modules() if isinstance(m, layer_types)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _among_the_first(values: Any, pictures: int) -> Any:
    """Returns the threshold that ``DETECTIONS`` values per image reach."""
    return values.flatten().topk(min(DETECTIONS * pictures, values.numel())).values[-1]


def _joined(batches: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
