"""Model Maker's API: import ``image_classifier`` from ``lib.train`` instead of from ``mediapipe_model_maker``.

The usual flower classifier example runs with this one line changed. See docs/edge.md for the differences.
"""

from lib.train.image_classifier.classifier import ImageClassifier
from lib.train.image_classifier.dataset import Dataset
from lib.train.image_classifier.options import HParams, ImageClassifierOptions, ModelOptions, ModelSpec, SupportedModels

__all__ = ["Dataset", "HParams", "ImageClassifier", "ImageClassifierOptions", "ModelOptions", "ModelSpec", "SupportedModels"]
