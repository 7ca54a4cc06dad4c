"""Stable Diffusion single files."""

from lib.convert.core.format import Format

FORMATS = (
    Format("sd-single-file", "Stable Diffusion single file", "model.safetensors", "single_file.runner:SingleFileRunner"),
)
