"""Model Maker's own words: ``from lib.train import image_classifier`` instead of ``from mediapipe_model_maker import …``.

The usual example of a flower classifier runs with this line changed. What is the same and what differs: docs/edge.md.
"""

from lib.train.image_classifier.classifier import ImageClassifier
from lib.train.image_classifier.dataset import Dataset
from lib.train.image_classifier.options import HParams, ImageClassifierOptions, ModelOptions, ModelSpec, SupportedModels

__all__ = ["Dataset", "HParams", "ImageClassifier", "ImageClassifierOptions", "ModelOptions", "ModelSpec", "SupportedModels"]
