"""Int8 worth having: ranges measured on real inputs, the best way to measure them, and layers that stay float.

``search`` decides, from what it measures; ``onnx_static``, ``onnx_dynamic`` and ``tflite`` make the files.
"""
