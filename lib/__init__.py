"""All the logic of Model Workbench; knows no user interface and no HTTP."""

__version__ = "1.0.0"
