"""onnx's and onnxruntime's words made fit for a visitor: no path of this machine in them."""

from __future__ import annotations

import os
import re


def clean(message: str) -> str:
    """onnx's words without paths of this machine or names of its source files, in one line of 600 characters."""
    # text of the upload may be in it: no pattern here takes more than linear time on any text
    message = re.sub(r"\x1b\[[0-9;]{0,20}[A-Za-z]", "", message[:8000])  # colours of a terminal
    message = re.sub(r"[^\s:'\",()]{0,200}\.(?:cc|h|cpp|hpp):\d+:? ?\w*:?", "", message)
    message = re.sub(r"/([^\s/:'\",()]{1,255})(?:/[^\s:'\",()]*)?", _without_folders, message)
    message = re.sub(r"inline-[0-9a-f]{16}[\w.-]*", "the model file", message)
    message = " ".join(message.split())
    return message[:600] + ("…" if len(message) > 600 else "")


def _without_folders(path: re.Match[str]) -> str:
    """Nodes are called /encoder/layer.0/attention too: only what begins like a path of this machine is one."""
    return path[0].rpartition("/")[2] if os.path.lexists(f"/{path[1]}") else path[0]
