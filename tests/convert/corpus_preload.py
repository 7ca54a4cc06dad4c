"""Imported by the corpus' fork server: everything a case needs, and one export, whose first run imports half of torch."""

import tempfile
import warnings
from pathlib import Path

import onnx.reference.ops.aionnxml  # noqa: F401
import torch

from lib.convert.formats.onnx import runner as _onnx  # noqa: F401
from lib.convert.tools.onnx_importer import (
    checked_export,
    operators,  # noqa: F401
)
from tests.convert import corpus as _corpus  # noqa: F401
from tests.convert import models
from tests.convert.edge_run import convert

torch.set_num_threads(1)  # a fork would lose the others
with tempfile.TemporaryDirectory() as _folder, warnings.catch_warnings():
    warnings.simplefilter("ignore")
    convert("onnx", "pt2", models.save(models.mlp(), Path(_folder) / "onnx"), Path(_folder) / "pt2")
assert checked_export
