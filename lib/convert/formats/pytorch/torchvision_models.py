"""torchvision architectures by name: classification, segmentation and detection.

Names are hard-coded by task so that the page can list them without importing torchvision; a test compares them with
torchvision's own list. Quantized, video and optical flow models are excluded.
"""

from __future__ import annotations

from typing import Any

from lib.errors import InvalidValue
from lib.model_inputs.signature import Value

_NAMES = {
    "classification": """
        alexnet convnext_base convnext_large convnext_small convnext_tiny densenet121 densenet161 densenet169
        densenet201 efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
        efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s googlenet inception_v3
        maxvit_t mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
        regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
        regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf
        regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d
        resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0
        squeezenet1_1 swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t vgg11 vgg11_bn vgg13 vgg13_bn vgg16
        vgg16_bn vgg19 vgg19_bn vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32 wide_resnet101_2
        wide_resnet50_2""",
    "segmentation": """deeplabv3_mobilenet_v3_large deeplabv3_resnet101 deeplabv3_resnet50 fcn_resnet101 fcn_resnet50
        lraspp_mobilenet_v3_large""",
    "detection": """fasterrcnn_mobilenet_v3_large_320_fpn fasterrcnn_mobilenet_v3_large_fpn fasterrcnn_resnet50_fpn
        fasterrcnn_resnet50_fpn_v2 fcos_resnet50_fpn keypointrcnn_resnet50_fpn maskrcnn_resnet50_fpn
        maskrcnn_resnet50_fpn_v2 retinanet_resnet50_fpn retinanet_resnet50_fpn_v2 ssd300_vgg16
        ssdlite320_mobilenet_v3_large""",
}
NAMES = {task: tuple(names.split()) for task, names in _NAMES.items()}
AUXILIARY = {"googlenet": "aux1.", "inception_v3": "AuxLogits."}  # prefixes of heads only used in training
SETTINGS = {"image_size": (1, 2048), "num_classes": (2, 100_000)}
FIXED_SIZE = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")  # their anchors are tied to one image size


def task_of(name: str) -> str:
    """Returns ``classification``, ``segmentation`` or ``detection``."""
    return next(task for task, names in NAMES.items() if name in names)


def check_settings(given: dict[str, Any]) -> dict[str, int]:
    """Validates the settings of an uploaded config: known keys, integers in range. Raises InvalidValue."""
    for key, value in given.items():
        if key not in SETTINGS:
            raise InvalidValue("setting of a torchvision model", key, ", ".join(SETTINGS))
        low, high = SETTINGS[key]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise InvalidValue(key, value, f"a whole number from {low} to {high}")
    return dict(given)


def settings_of(name: str, keys: dict[str, tuple[int, ...]]) -> dict[str, int | bool]:
    """Derives settings from uploaded weights (shapes by name): number of classes, auxiliary heads."""
    from torchvision.models import get_model

    settings: dict[str, int | bool] = {}
    if task_of(name) == "segmentation":
        settings["aux"] = any(key.startswith("aux_classifier.") for key in keys)
    elif name in AUXILIARY:
        settings["aux"] = any(key.startswith(AUXILIARY[name]) for key in keys)
    if task_of(name) != "detection":
        model = get_model(name, weights=None, **_builder(name, {"aux": False}))
        head = [key for key, tensor in model.state_dict().items() if key.endswith("weight") and tensor.ndim >= 2][-1]
        if keys.get(head, (0,))[0] >= 2:
            settings["num_classes"] = keys[head][0]
    return settings


def build(name: str, settings: dict[str, Any]) -> tuple[Any, tuple[Value, ...], str]:
    """Returns the model with random weights from torch's current seed, its inputs, and its ``style`` for ``flat``.

    Raises InvalidValue for an image size that the model does not support.
    """
    from torchvision.models import get_model

    size = settings.get("image_size") or _own_size(name)
    if name in FIXED_SIZE and size != _own_size(name):
        raise InvalidValue("image_size", size, f"{_own_size(name)} for {name}")
    detection = task_of(name) == "detection"
    try:
        model = get_model(name, weights=None, **_builder(name, settings))
    except ValueError as error:  # the image size is not divisible into patches or windows
        raise InvalidValue("image_size", size, f"a size that {name} can divide into patches ({error})") from error
    image = Value("image", "float32", (1 if detection else "batch", 3, size, size), "image")
    return model.eval(), (image,), "detection" if detection else "positional"


def _builder(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the keyword arguments for torchvision's builder function ``name``."""
    keywords: dict[str, Any] = {}
    task = task_of(name)
    if task != "classification":
        keywords["weights_backbone"] = None  # the default would be downloaded
    if task == "segmentation" and not name.startswith("lraspp"):
        keywords["aux_loss"] = bool(settings.get("aux", False))
    if name in AUXILIARY:
        keywords |= {"aux_logits": bool(settings.get("aux", False)), "init_weights": False, "transform_input": False}
    if "num_classes" in settings:
        keywords["num_classes"] = settings["num_classes"]
    if "image_size" in settings:
        size = settings["image_size"]
        if name.startswith("vit_"):
            keywords["image_size"] = size
        elif name == "maxvit_t":
            keywords["input_size"] = (size, size)
        elif task == "detection" and name not in FIXED_SIZE:
            keywords |= {"min_size": size, "max_size": size}
    return keywords


def _own_size(name: str) -> int:
    """Returns the image size in pixels that the published weights expect."""
    if task_of(name) == "detection":
        return {"ssd300_vgg16": 300}.get(name, 320 if "320" in name else 800)
    from torchvision.models import get_model_weights

    keywords = get_model_weights(name).DEFAULT.transforms.keywords
    return int(keywords.get("crop_size") or keywords["resize_size"])
