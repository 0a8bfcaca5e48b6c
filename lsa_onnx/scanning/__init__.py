"""The main job: clean and perturbed inputs through the model, scores per layer, the MVL list, a report."""

from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.options import ScanOptions
from lsa_onnx.scanning.run import scan
from lsa_onnx.scanning.subject import Subject, open_subject

__all__ = ["Listener", "ScanOptions", "Subject", "open_subject", "scan"]
