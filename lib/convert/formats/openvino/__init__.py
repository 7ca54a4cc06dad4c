"""OpenVINO IR."""

from lib.convert.core.format import Format

FORMATS = (
    Format(
        "openvino",
        "OpenVINO IR",
        "model.xml",
        "openvino.runner:OpenvinoRunner",
        place=4,
        emulation="onnx_float16:fill_weights_only",
    ),
)
