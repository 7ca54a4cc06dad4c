"""PyTorch architectures, selected by name or config, and their weights."""

from lib.convert.core.format import Format, Upload

FORMATS = (
    Format(
        "architecture",
        "PyTorch architecture",
        "architecture.json",
        "pytorch.runner:ArchitectureRunner",
        upload=Upload(admit="pytorch.admit:admit", beside=True),  # a transformers config.json
    ),
)
