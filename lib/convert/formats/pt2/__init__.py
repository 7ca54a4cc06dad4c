"""Exported PyTorch programs (``.pt2``)."""

from lib.convert.core.format import Format, Upload

CLOSED = (
    "This is a PyTorch exported program (.pt2). torch.export.load can run arbitrary code that is hidden in such a file, "
    "in three ways: pickled sample inputs, pickled weights and expressions for shapes. So .pt2 uploads are disabled. "
    "Upload ONNX (torch.onnx.export) or safetensors instead; the owner of this app can allow .pt2 with PT2_UPLOADS=1."
)
FORMATS = (
    Format(
        "pt2",
        "PyTorch exported program",
        "model.pt2",
        "pt2.runner:Pt2Runner",
        upload=Upload(suffixes=(".pt2",), in_zip="pt2.check:is_pt2", check="pt2.check:check_pt2", closed=CLOSED),
        place=6,
    ),
)
