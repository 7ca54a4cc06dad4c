"""What the importer knows it cannot do."""


class Unsupported(Exception):
    """The words are for the visitor: which operator, and what about it."""
