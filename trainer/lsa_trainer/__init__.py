"""Retrains a scanned model: ONNX to torch, layer-wise regularised training, back into the same graph."""
