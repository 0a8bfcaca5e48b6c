"""Running models: devices, sessions, batches, and the scoring session itself."""

import os

# From release 1.29, ONNX Runtime reports sessions and models to its makers over the network, and keeps an
# identifier on disk for it. An audit of a model is nobody else's business. Read when onnxruntime is imported;
# who sets the variable otherwise is heeded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
