"""Runs a pipeline's folder of ONNX files in onnxruntime, with the value names of ``diffusers/runner.py``. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.errors import InvalidFile, JobFailed
from lib.model_inputs.signature import Signature, Value
from lib.onnx_model.words import clean

ORDER = ("text_encoder", "text_encoder_2", "unet", "vae_decoder")
DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class DiffusersOnnxRunner:
    """Runs the networks in ``onnx/`` of an artifact folder, one session each. Raises InvalidFile if one does not load."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._sessions = {}
        for name in ORDER:
            path = folder / "onnx" / name / "model.onnx"
            if not path.is_file():
                continue
            try:
                self._sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime's errors share no public base class
                raise InvalidFile(f"onnxruntime cannot load {name}/model.onnx ({type(error).__name__}).") from error
        if not self._sessions:
            raise InvalidFile(f"The folder holds none of {', '.join(ORDER)}.")

    def signature(self) -> Signature:
        def values(kind: str) -> tuple[Value, ...]:
            return tuple(
                Value(f"{name}.{v.name}", DTYPES.get(v.type, v.type), tuple(v.shape))
                for name, session in self._sessions.items()
                for v in getattr(session, kind)()
            )

        return Signature(values("get_inputs"), values("get_outputs"))

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs every network on its inputs. Raises JobFailed with onnxruntime's message."""
        outputs = {}
        for name, session in self._sessions.items():
            feeds = {v.name: inputs[f"{name}.{v.name}"] for v in session.get_inputs()}
            try:
                results = session.run(None, feeds)
            except Exception as error:
                raise JobFailed(f"onnxruntime refused {name}'s inputs: {clean(str(error))[:200]}") from None
            outputs |= {f"{name}.{v.name}": r for v, r in zip(session.get_outputs(), results, strict=True)}
        return outputs

    def close(self) -> None:
        self._sessions = {}
