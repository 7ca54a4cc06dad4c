"""Training with PyTorch and timm. ``train`` and ``load`` are the interface of ``lib/train/training.py``."""

from lib.train.torch_training.classifier import load
from lib.train.torch_training.loop import train

__all__ = ["load", "train"]
