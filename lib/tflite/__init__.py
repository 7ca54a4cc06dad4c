"""TensorFlow Lite files: read and verified, whoever needs one."""
