"""Int8 quantisation: calibrates ranges, chooses the best calibration method, and keeps sensitive layers in float.

``search`` decides by measuring candidates; ``onnx_static``, ``onnx_dynamic`` and ``tflite`` create them.
"""
