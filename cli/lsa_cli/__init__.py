"""The command line of lsa-onnx: one command per file, no domain logic."""
