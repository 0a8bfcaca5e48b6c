"""Whether a written model is its parent with other weights, and a model that runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.differences import compare_stored
from lsa_onnx.errors import ModelError
from lsa_onnx.model import describe, load_model
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.rewrite.graph import true_inputs
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.matching import UNVARYING, locate
from lsa_onnx.runtime.session import Session
from lsa_onnx.stored import StoredModel, read_stored
from lsa_onnx.structure import first_output
from lsa_trainer.inference import nodes_in_training
from lsa_trainer.writeback.errors import WriteBackError

Array = NDArray[Any]

# A batch and single runs differ by rounding, more so in half precision.
_TOLERANCE = 1e-3
_HALF_TOLERANCE = 3e-2
_HALF = frozenset({"float16", "bfloat16"})


def verify_written(
    source: str | Path, target: str | Path, samples: Mapping[str, Array] | None = None
) -> None:
    """Hold a written model to its parent.

    Args:
        source: The parent.
        target: The written model, staged or published.
        samples: Inputs by name, ``(n, ...)``, with which the model is run; with n > 1 also as a batch.
            Leave them out for a model that mixes the samples of a batch.

    Raises:
        WriteBackError: Besides weights, metadata and initializers that were untied, something differs;
            ONNX's checker or ONNX Runtime refuses what it accepts of the parent; the answers depend on
            the batch where the parent's do not; or a node is in training mode.
        LsaError: One of the files cannot be read.
    """
    parent, written = read_stored(source), read_stored(target)
    _require_inference(written)
    _require_same_graph(parent, written)
    _require_checker(parent.path, written.path)
    if samples is not None:
        _require_same_answers(parent, written, samples)


def _require_inference(written: StoredModel) -> None:
    training = nodes_in_training(written.proto)
    if training:
        raise WriteBackError(
            f"{str(written.path)!r} is in training mode at {first_output(training[0])!r}, so its answers are "
            "random or depend on the batch; export the parent for inference (model.eval()) first"
        )


def _require_same_graph(parent: StoredModel, written: StoredModel) -> None:
    difference = compare_stored(parent, written)
    if not difference.same_graph:
        raise WriteBackError(
            f"{str(written.path)!r} is not {str(parent.path)!r} with other weights: "
            f"{difference.graph[0]}; write the weights again, from the file that was trained"
        )


def _require_checker(parent: Path, written: Path) -> None:
    problem = _checker_problem(written)
    if problem is not None and _checker_problem(parent) is None:
        raise WriteBackError(
            f"onnx.checker refuses {str(written)!r}, but not its parent: {problem}; "
            "name another file and write the weights again"
        )


def _checker_problem(path: Path) -> str | None:
    try:
        # By path: only so does it accept models above 2 GiB and look for the files beside them.
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        return " ".join(str(error).split())
    return None


def _require_same_answers(
    parent: StoredModel, written: StoredModel, samples: Mapping[str, Array]
) -> None:
    inputs = [describe(value) for value in true_inputs(written.proto.graph)]
    batched = [value.name for value in inputs if value.batch == "free"]
    count = min((len(samples[name]) for name in batched), default=0)
    feeds = {value.name: _rows(samples[value.name], value, count) for value in inputs}
    types = {value.dtype for value in (*inputs, *map(describe, written.proto.graph.output))}
    tolerance = _HALF_TOLERANCE if types & _HALF else _TOLERANCE
    _require_loading(parent.path, written.path)
    problem = _batch_problem(written.path, feeds, batched, tolerance)
    if problem is not None and _batch_problem(parent.path, feeds, batched, tolerance) is None:
        raise WriteBackError(
            f"{str(written.path)!r} answers a batch of {count} unlike single runs, which its parent "
            f"does not: output {problem}; use a smaller learning rate"
        )


def _require_loading(parent: Path, written: Path) -> None:
    problem = _loading_problem(written)
    if problem is not None and _loading_problem(parent) is None:
        raise WriteBackError(
            f"{problem}, {str(written)!r}, but loads its parent; name another file and write the "
            "weights again"
        )


def _loading_problem(path: Path) -> str | None:
    try:
        Session(path, resolve_device("cpu"))
    except ModelError as error:
        return str(error)
    return None


def _session(path: Path) -> Session:
    """The file as it is where ONNX Runtime can load it so: it reads no shapes from other files."""
    try:
        return Session(path, resolve_device("cpu"))
    except ModelError:
        loaded = load_model(path)
        return Session(loaded.proto, resolve_device("cpu"), loaded.folder)


def _rows(samples: Array, value: ValueDescription, count: int) -> Array:
    """As many samples as the input takes."""
    if value.shape and isinstance(value.shape[0], int):
        return samples[: value.shape[0]]
    return samples[:count] if value.batch == "free" else samples


def _batch_problem(
    path: Path, feeds: Mapping[str, Array], batched: Collection[str], tolerance: float
) -> str | None:
    """In which output a batch differs from single runs; without a batch, the model only has to run."""
    session = _session(path)
    whole = session.run(feeds)
    count = min((len(feeds[name]) for name in batched), default=0)
    singles = [
        session.run({n: a[i : i + 1] if n in batched else a for n, a in feeds.items()})
        for i in range(count if count > 1 else 0)
    ]
    for name, values in whole.items():
        parts = [np.asarray(single[name]) for single in singles]
        found = locate(parts, np.asarray(values), tolerance) if parts else UNVARYING
        if isinstance(found, str) and found != UNVARYING:
            return f"{name!r} {found}"
    return None
