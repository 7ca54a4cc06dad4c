"""ExecuTorch programs (``.pte``): what PyTorch runs on phones and microcontrollers."""

from lib.convert.core.format import Format, Upload

MAIN, RUNNER, ENVIRONMENT = "model.pte", "executorch.runner:ExecutorchRunner", "executorch"
UPLOAD = Upload(wanted=".pte", suffixes=(".pte",), magic=((4, b"ET12"),), check="executorch.check:check_program")
FORMATS = (
    Format("executorch", "ExecuTorch", MAIN, RUNNER, ENVIRONMENT, upload=UPLOAD, described_in_app=True, place=4),
    Format("executorch-int8", "ExecuTorch, int8", MAIN, RUNNER, ENVIRONMENT, base="executorch", place=12),
)
