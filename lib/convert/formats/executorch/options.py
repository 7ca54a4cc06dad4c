"""What both edges to ExecuTorch can be asked for. Imports no framework."""

from __future__ import annotations

from lib.convert.core.option import Option

DYNAMIC = (
    Option(name="dynamic", title="Keep dynamic dimensions, up to a bound", kind="bool", default=True),
    Option(name="largest", title="Largest sizes, as in batch=16, height=640", kind="text", default=""),
)
NOTE = "For ExecuTorch 1.2 and later. Memory is planned for the largest size of every dynamic dimension."
