"""Look inside an ONNX model: open, summary, cost, check, run, build, compare, report."""
