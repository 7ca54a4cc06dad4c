"""The logic of Model Workbench. Independent of any user interface and of HTTP."""

__version__ = "1.0.0"
