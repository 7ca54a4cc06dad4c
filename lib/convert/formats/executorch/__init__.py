"""ExecuTorch programs (``.pte``), PyTorch's format for phones and microcontrollers."""

from lib.convert.core.format import Format, Upload

UPLOAD = Upload(wanted=".pte", suffixes=(".pte",), magic=((4, b"ET12"),), check="executorch.check:check_program")
FORMATS = (
    Format(
        "executorch",
        "ExecuTorch",
        "model.pte",
        "executorch.runner:ExecutorchRunner",
        "executorch",
        upload=UPLOAD,
        described_in_app=True,
        place=4,
    ),
)
