"""ONNX operators as torch functions, one family per file; see ``registry`` for the rules."""
