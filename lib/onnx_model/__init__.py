"""An ONNX file opened without trust, and run: what more than one capability needs of ONNX."""
