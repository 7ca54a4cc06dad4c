"""PyTorch architectures by name, and their weights."""

from lib.convert.core.format import Format, Upload

FORMATS = (
    Format(
        "architecture",
        "PyTorch architecture",
        "architecture.json",
        "pytorch.runner:ArchitectureRunner",
        upload=Upload(admit="pytorch.admit:admit", beside=True),  # a config.json of transformers
    ),
)
