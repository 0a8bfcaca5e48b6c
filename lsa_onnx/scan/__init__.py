"""The main job: clean and perturbed inputs through the model, scores per layer, the MVL list, a report."""

from lsa_onnx.scan.listener import Listener
from lsa_onnx.scan.options import ScanOptions
from lsa_onnx.scan.run import scan
from lsa_onnx.scan.subject import Subject, open_subject

__all__ = ["Listener", "ScanOptions", "Subject", "open_subject", "scan"]
