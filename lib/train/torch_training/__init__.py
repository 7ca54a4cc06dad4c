"""Training with PyTorch and timm. ``train`` and ``load`` implement ``lib/train/training.py``."""

from lib.train.torch_training.classifier import load
from lib.train.torch_training.loop import train

__all__ = ["load", "train"]
