"""Runs models on ONNX Runtime and on ONNX's reference evaluator, as far as they can be run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator

if TYPE_CHECKING:
    import onnx

Run = Callable[[Mapping[str, Any]], dict[str, Any]]


def runtime(model: onnx.ModelProto) -> Run | None:
    """Runs ``model`` on ONNX Runtime, optimised; ``None`` where that does not load it."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # noqa: BLE001 - the runtime documents no class of error
        return None
    return _named(session, model)


def reference(model: onnx.ModelProto) -> Run | None:
    """Runs ``model`` on ONNX's reference evaluator; ``None`` where that does not load it."""
    try:
        return _named(ReferenceEvaluator(model), model)
    except Exception:  # noqa: BLE001 - nor does the evaluator
        return None


def answer(run: Run, feeds: Mapping[str, Any]) -> dict[str, Any] | None:
    """The outputs, ``None`` where the run fails."""
    try:
        return run(feeds)
    except Exception:  # noqa: BLE001 - neither documents its errors
        return None


def _named(session: Any, model: onnx.ModelProto) -> Run:
    names = [value.name for value in model.graph.output]

    def run(feeds: Mapping[str, Any]) -> dict[str, Any]:
        # The runtime takes no numpy scalars.
        given = {n: np.asarray(v) if isinstance(v, np.generic) else v for n, v in feeds.items()}
        return dict(zip(names, session.run(names, given), strict=True))

    return run
