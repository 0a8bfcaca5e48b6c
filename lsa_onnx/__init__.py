"""Robustness audits of deployed ONNX models: which layers does a perturbation move most?

    import lsa_onnx

    report = lsa_onnx.scan("model.onnx", data="images.npz", eps="8/255")
    print(report)

Names are loaded when they are first used, so that importing this package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsa_onnx._version import __version__ as __version__
    from lsa_onnx.accounts.merging import merge as merge
    from lsa_onnx.api import compare as compare
    from lsa_onnx.api import decision_boundary as decision_boundary
    from lsa_onnx.api import evaluate as evaluate
    from lsa_onnx.api import expose as expose
    from lsa_onnx.api import input_landscape as input_landscape
    from lsa_onnx.api import list_layers as list_layers
    from lsa_onnx.api import scan as scan
    from lsa_onnx.boundary import BoundaryOptions as BoundaryOptions
    from lsa_onnx.checking import check_model as check_model
    from lsa_onnx.cluster import ClusterOptions as ClusterOptions
    from lsa_onnx.cluster import scan_on_cluster as scan_on_cluster
    from lsa_onnx.differences import diff_models as diff_models
    from lsa_onnx.errors import DataError as DataError
    from lsa_onnx.errors import DeviceError as DeviceError
    from lsa_onnx.errors import EvaluationInterrupted as EvaluationInterrupted
    from lsa_onnx.errors import GateFailed as GateFailed
    from lsa_onnx.errors import LsaError as LsaError
    from lsa_onnx.errors import ModelError as ModelError
    from lsa_onnx.errors import ScanInterrupted as ScanInterrupted
    from lsa_onnx.errors import UnsafeModelError as UnsafeModelError
    from lsa_onnx.evaluation import EvaluationOptions as EvaluationOptions
    from lsa_onnx.landscape import LandscapeOptions as LandscapeOptions
    from lsa_onnx.report import Comparison as Comparison
    from lsa_onnx.report import Evaluation as Evaluation
    from lsa_onnx.report import Report as Report
    from lsa_onnx.report import read_evaluation as read_evaluation
    from lsa_onnx.report import read_report as read_report
    from lsa_onnx.scanning import Listener as Listener
    from lsa_onnx.scanning import ScanOptions as ScanOptions

_HOMES = {
    "BoundaryOptions": "boundary",
    "ClusterOptions": "cluster",
    "Comparison": "report",
    "DataError": "errors",
    "DeviceError": "errors",
    "Evaluation": "report",
    "EvaluationInterrupted": "errors",
    "EvaluationOptions": "evaluation",
    "GateFailed": "errors",
    "LandscapeOptions": "landscape",
    "Listener": "scanning",
    "LsaError": "errors",
    "ModelError": "errors",
    "Report": "report",
    "ScanInterrupted": "errors",
    "ScanOptions": "scanning",
    "UnsafeModelError": "errors",
    "__version__": "_version",
    "check_model": "checking",
    "compare": "api",
    "decision_boundary": "api",
    "diff_models": "differences",
    "evaluate": "api",
    "expose": "api",
    "input_landscape": "api",
    "list_layers": "api",
    "merge": "accounts.merging",
    "read_evaluation": "report",
    "read_report": "report",
    "scan": "api",
    "scan_on_cluster": "cluster",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    # A type checker that saw this would take any name for one of this module.
    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
