"""The importer's error for unsupported models."""


class Unsupported(Exception):
    """The model uses something that is not implemented. The message tells the user which operator, and why."""
