"""Look inside a TensorFlow Lite file: operators, tensors, cost, metadata, problems; run it; edit its metadata."""
