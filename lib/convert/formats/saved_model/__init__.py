"""TensorFlow SavedModels."""

from lib.convert.core.format import Format, Upload

FORMATS = (
    Format(
        "saved-model",
        "TensorFlow SavedModel",
        "saved_model/",
        "saved_model.runner:SavedModelRunner",
        "tensorflow",
        upload=Upload(
            wanted="a zip of a SavedModel",
            suffixes=(".zip",),
            in_zip="saved_model.check:is_saved_model",
            write="saved_model.check:unpack",
        ),
        place=7,
    ),
)
