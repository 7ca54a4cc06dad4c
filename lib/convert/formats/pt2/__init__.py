"""Exported PyTorch programs (``.pt2``)."""

from lib.convert.core.format import Format

FORMATS = (Format("pt2", "PyTorch exported program", "model.pt2", "pt2.runner:Pt2Runner"),)
