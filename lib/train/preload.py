"""Modules that the fork server of the training jobs imports once, so that a job starts in a tenth of a second."""

import timm  # noqa: F401
import torchvision.transforms.v2  # noqa: F401

import lib.train.tasks
import lib.train.torch_training  # noqa: F401
