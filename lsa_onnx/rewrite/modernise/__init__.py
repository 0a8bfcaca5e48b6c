"""``modernise``: raise a model to one dialect of ONNX, so that later rewrites know one form of each operator."""

from lsa_onnx.rewrite.modernise.model import TARGET, modernise

__all__ = ["TARGET", "modernise"]
