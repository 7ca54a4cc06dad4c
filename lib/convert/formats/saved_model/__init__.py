"""TensorFlow SavedModels."""

from lib.convert.core.format import Format

FORMATS = (
    Format("saved-model", "TensorFlow SavedModel", "saved_model/", "saved_model.runner:SavedModelRunner", "tensorflow"),
)
