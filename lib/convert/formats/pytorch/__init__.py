"""PyTorch architectures by name, and their weights."""

from lib.convert.core.format import Format

FORMATS = (Format("architecture", "PyTorch architecture", "architecture.json", "pytorch.runner:ArchitectureRunner"),)
