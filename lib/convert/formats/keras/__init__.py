"""Keras 3 (``.keras``)."""

from lib.convert.core.format import Format

FORMATS = (Format("keras", "Keras 3", "model.keras", "keras.runner:KerasRunner"),)
