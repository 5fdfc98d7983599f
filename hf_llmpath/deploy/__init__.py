"""Delivers trained models: export to ONNX, quantization, and measurements of speed, size, and quality."""
