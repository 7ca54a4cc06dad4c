"""diffusers pipelines: whole folders, single networks, and folders of ONNX files."""

from lib.convert.core.format import Format, Upload

MAIN, RUNNER = "pipeline/", "diffusers.runner:DiffusersRunner"
UPLOAD = Upload(
    wanted="a zip of a diffusers folder",
    suffixes=(".zip",),
    in_zip="diffusers.check:is_pipeline",
    write="diffusers.check:unpack",
)
FORMATS = (
    Format("diffusers", "diffusers folder", MAIN, RUNNER, upload=UPLOAD),
    Format("diffusers-network", "one network of a diffusers folder", MAIN, RUNNER),
    Format(
        "diffusers-onnx",
        "ONNX folder of a diffusers pipeline",
        "onnx/",
        "diffusers.onnx_runner:DiffusersOnnxRunner",
        place=5,
    ),
)
