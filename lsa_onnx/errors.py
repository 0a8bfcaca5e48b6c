"""The errors that reach a user, one class per documented exit code.

A message says what failed, the value received, what is accepted and what to do next, in one line. Anything that is
not an ``LsaError`` is a defect of this tool and keeps its traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from lsa_onnx.report.document import Report
    from lsa_onnx.report.evaluation import Evaluation


class LsaError(Exception):
    """A problem that the user can act on.

    ``exit_code`` is what the command line returns for it.
    """

    exit_code: ClassVar[int] = 2


class GateFailed(LsaError):
    """A gate the user asked for was not met (``--expect-accuracy``): exit code 1."""

    exit_code = 1


class DataError(LsaError):
    """The data, the labels, an option or an output path cannot be used: exit code 2."""

    exit_code = 2


class ModelError(LsaError):
    """The model is not a valid ONNX file, or is one that this tool cannot run: exit code 3."""

    exit_code = 3


class DeviceError(LsaError):
    """The device asked for is not available: exit code 4."""

    exit_code = 4


class UnsafeModelError(LsaError):
    """The model file reaches outside its own folder, or harms the process that opens it: exit code 5."""

    exit_code = 5


class ScanInterrupted(KeyboardInterrupt):
    """A scan was interrupted when it had scored some samples; ``report`` is what came of them.

    It is a ``KeyboardInterrupt``, not an ``LsaError``: who does not want the report has nothing to do.
    """

    def __init__(self, report: Report) -> None:
        super().__init__("interrupted")
        self.report = report


class EvaluationInterrupted(KeyboardInterrupt):
    """Likewise, an evaluation of which some strengths were done; ``evaluation`` is what came of them."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__("interrupted")
        self.evaluation = evaluation
