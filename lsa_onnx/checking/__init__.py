"""Whether a model file can be opened without harm, tried in a process of its own.

Parsers, shape inference and ONNX Runtime are written in C++: a file that is made for it, or a defect of
theirs, ends the process that opened it, fills its memory or never comes back. What happens in the check
happens to another process first. It is no sandbox: code that a file smuggles in runs with the rights of the
user.
"""

from lsa_onnx.checking.limits import Limits
from lsa_onnx.checking.parent import Checker, check_model

__all__ = ["Checker", "Limits", "check_model"]
