"""Random weights that a check can see through: every layer matters and outputs move with the inputs.

Freshly initialised models hide errors: zero biases, layer scales of 1e-6, heads of zeros, batch norms that know
nothing of their inputs, pooled pictures that all look alike. Statistics of the layers on random inputs put
that right (the idea of layer-sequential unit-variance initialisation, Mishkin and Matas 2015).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

from lib.convert.formats.pytorch import samples
from lib.convert.proof import cases as proof_cases
from lib.convert.proof import measures
from lib.model_inputs.signature import Signature

BATCHES = (100, 101, 102, 103)  # seeds, of a random stream that the proof does not use
MIN_VARIATION = 0.1  # of an output's peak; the proof asks for 1e-2
# class scores of detection models: few detections with clear scores, not hundreds that differ by a rounding
DEVIATION, DETECTIONS = 3.0, 20  # of a score; a picture, before those that overlap are left out
SIGMOIDS, SOFTMAX, PLACES = "cls_logits", "cls_score", "classification_head.module_list"  # parts of their layers' names
BACKGROUND = 20.0  # mean of the background's score where every place of a picture has one
SMALL_SCALE = 0.1  # a layer scale below this switches its block off


def randomize_and_calibrate(flat: Any, signature: Signature, seed: int) -> str:
    """Changes the weights of ``flat.model`` in place; says what was done."""
    import torch

    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        _randomize_constants(flat.model, random)
        done = _calibrate(flat, signature, large=True)
        # beside the large ones the ordinary inputs may be too small to move anything
        if flat.style != "detection" and least_movement(flat, signature) < MIN_VARIATION:
            done = _calibrate(flat, signature, large=False)
    return ", ".join([f"random weights (seed {seed})", *done])


def _calibrate(flat: Any, signature: Signature, *, large: bool) -> list[str]:
    """Norms learn from made inputs, one of them ``large`` or none; where outputs hardly move, layers are rescaled too."""
    batches = _batches(flat, signature, large)
    done = ["batch norms calibrated"] if _calibrate_norms(flat, batches) else []
    if flat.style == "detection" or least_movement(flat, signature) < MIN_VARIATION:
        # levelled first and learnt after, large inputs stay mild, down to float16; levelled while the norms learn, each
        # layer is level for what it will be given
        first = large and flat.style != "detection"
        with _levelled(flat, len(batches[0][0])):
            if first or not _calibrate_norms(flat, batches):
                flat(*batches[0])
        if first:
            _calibrate_norms(flat, batches)
        done.append("layers rescaled so that outputs move with the inputs")
    return done


def _batches(flat: Any, signature: Signature, large: bool) -> list[tuple[Any, ...]]:
    sizes = samples.sizes(signature, 0) | ({"batch": 3} if "batch" in signature.symbols() else {})
    batches = [samples.make(signature, sizes, k) for k in BATCHES]
    if large:  # what a network does beyond all it was calibrated on amplifies rounding without end
        batches[-1] = tuple(
            t * proof_cases.LARGE_SCALE if v.role == "image" else t
            for t, v in zip(batches[-1], signature.inputs, strict=True)
        )
    if flat.style == "detection" or "batch" in signature.symbols():
        # as one: each norm must see small and large together, for it levels whatever comes alone
        batches = [_joined(batches)]
    return batches


def least_movement(flat: Any, signature: Signature) -> float:
    """The least that any output moves from one input to another, as a share of its peak; counted as the proof does."""
    import torch

    pairs = []
    for case in proof_cases.cases(signature, BATCHES[:2], stream=proof_cases.CALIBRATION):
        if case.kind in ("ordinary", "resized"):
            with torch.inference_mode():
                outputs = flat(*(torch.from_numpy(case.arrays[v.name]) for v in signature.inputs))
            found = {name: tensor.numpy() for name, tensor in zip(flat.names, outputs, strict=True)}
            pairs.append(measures.Pair(case.kind, found, None))
    least = 1.0
    for name, value in pairs[0].expected.items():
        if any(not p.expected[name].size for p in pairs):
            return 0.0  # no detections
        if value.dtype.kind == "f":
            peak = max(measures.peak(p.expected[name]) for p in pairs)
            found_move = measures.movement(name, pairs, peak)
            least = min(least, 1.0 if found_move is None else found_move)
    return least


def _randomize_constants(model: Any, random: Any) -> None:
    """Constants become numbers: zero biases and heads, norms of ones, layer scales near nothing."""
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
    """Batch norms learn mean and variance of what reaches them; all else stays in eval mode."""
    import torch

    norms = [m for m in flat.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [m.momentum for m in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over the batches
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
    """While inside, each linear and convolution layer is rescaled, once, to mean 0 and deviation 1 per channel.

    Class scores of detection models are levelled on the ordinary ones of the ``pictures``, all but the last, and shifted
    so that few places of each have one that counts.
    """
    import torch

    kinds = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
    done: set[int] = set()
    scores = {
        id(module): part
        for name, module in flat.named_modules()
        for part in (SIGMOIDS, SOFTMAX, PLACES)
        if flat.style == "detection" and isinstance(module, kinds) and part in name and "rpn." not in name
    }
    background = {
        id(layer): head.num_columns
        for head in flat.modules()
        if type(head).__name__ in ("SSDClassificationHead", "SSDLiteClassificationHead")
        for layer in head.modules()
        if isinstance(layer, kinds)
    }

    def level(module: Any, _: Any, given: Any) -> Any:
        output = given
        if id(module) in done or module.weight.shape[0] < 2 or getattr(module, "transposed", False):
            return None
        done.add(id(module))
        axis = 1 if isinstance(module, torch.nn.modules.conv._ConvNd) else output.ndim - 1
        rest = [k for k in range(output.ndim) if k != axis]
        if output.numel() // output.shape[axis] < 2:
            return None
        view = [-1 if k == axis else 1 for k in range(output.ndim)]
        part = scores.get(id(module), "") if module.bias is not None else ""
        if part in (SIGMOIDS, SOFTMAX):
            output = output[: len(output) * (pictures - 1) // pictures]
        factor = (DEVIATION if part else 1.0) / output.std(rest).clamp_min(1e-6)
        module.weight.mul_(factor.view(-1, *[1] * (module.weight.ndim - 1)))
        if module.bias is None:
            return output * factor.view(view)
        shift = -factor * output.mean(rest)
        plain = output * factor.view(view) + shift.view(view)
        if part == SIGMOIDS:
            shift -= _among_the_first(plain, pictures - 1)
        elif part == SOFTMAX:
            shift[0] += _among_the_first(plain[:, 1:].amax(1) - plain[:, 0], pictures - 1)
        elif id(module) in background:
            shift[:: background[id(module)]] += BACKGROUND
        module.bias.copy_(module.bias * factor + shift)
        return given * factor.view(view) + shift.view(view)

    hooks = [m.register_forward_hook(level) for m in flat.modules() if isinstance(m, kinds)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _among_the_first(values: Any, pictures: int) -> Any:
    """The value that ``DETECTIONS`` a picture exceed."""
    return values.flatten().topk(min(DETECTIONS * pictures, values.numel())).values[-1]


def _joined(batches: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    import torch

    return tuple(torch.cat(parts) for parts in zip(*batches, strict=True))
