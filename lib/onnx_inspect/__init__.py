"""Inspect ONNX models: summary, cost, checks, runs, comparison, and conversion from and to ONNX text."""
