"""Reads, verifies, edits and runs TensorFlow Lite files."""
