"""Keras 3 (``.keras``)."""

from lib.convert.core.format import Format, Upload

UPLOAD = Upload(wanted=".keras", suffixes=(".keras",), in_zip="keras.check:is_keras", write="keras.check:write_checked")
FORMATS = (Format("keras", "Keras 3", "model.keras", "keras.runner:KerasRunner", upload=UPLOAD),)
