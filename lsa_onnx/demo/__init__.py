"""What ``lsa-onnx demo`` scans: a small real model and real images that ship with the package."""
