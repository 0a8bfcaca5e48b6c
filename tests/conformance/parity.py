"""Runs one case in torch: does it give what ONNX Runtime gives?"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lsa_onnx.errors import ModelError
from lsa_onnx.layers.operators import RANDOM
from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.graph import subgraphs
from lsa_trainer.translation import Unsupported
from tests.conformance.agreement import disagreement
from tests.conformance.cases import Case
from tests.conformance.running import answer, runtime
from tests.trainer.on_torch import loaded, run_torch

if TYPE_CHECKING:
    import onnx

Values = Mapping[str, Any]

_RANDOM = RANDOM | {"Dropout"}


class Parity(str, Enum):
    """What became of a case."""

    EQUAL = "equal to ONNX Runtime"
    EXPECTED = "equal to ONNX's own numbers"
    RANDOM = "random"
    UNSUPPORTED = "not supported"
    DIFFERS = "differs"
    ERROR = "error"


@dataclass(frozen=True)
class Ran:
    """What became of a case.

    Attributes:
        name: Its name.
        group: Its group.
        parity: The outcome.
        reasons: Operator → why it is not supported; tensor → how it differs.
        tensors: How many were compared.
    """

    name: str
    group: str
    parity: Parity
    reasons: Mapping[str, str]
    tensors: int = 0


def hold(case: Case) -> Ran:
    """Compare every tensor that both make; what goes wrong is an outcome too."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            parity, reasons, tensors = _held(case)
        except Unsupported as error:
            reasons = {_kind(m.node): m.reason for m in error.nodes}
            parity, tensors = Parity.UNSUPPORTED, 0
        except ModelError as error:
            parity, reasons, tensors = Parity.UNSUPPORTED, {case.group: _short(str(error))}, 0
        except Exception as error:  # noqa: BLE001 - a defect, which the table and its test report
            text = f"{type(error).__name__}: {error}"
            parity, reasons, tensors = Parity.ERROR, {case.group: text}, 0
    return Ran(case.name, case.group, parity, reasons, tensors)


def _held(case: Case) -> tuple[Parity, dict[str, str], int]:
    with tempfile.TemporaryDirectory() as folder:
        module = loaded(case.model, Path(folder))
    made = [name for name in _inner_tensors(case.model) if name in set(module.tensor_names)]
    ours = run_torch(module, case.feeds, [*module.output_names, *made])
    theirs, parity = _runtime_values(case, made), Parity.EQUAL
    if theirs is None:
        theirs, parity = case.expected, Parity.EXPECTED
    reasons = _disagreements(ours, theirs)
    if reasons and any(node.op_type in _RANDOM for node in _nodes(case.model.graph)):
        reasons, parity = _disagreements(ours, theirs, numbers=False), Parity.RANDOM
    return (Parity.DIFFERS if reasons else parity), reasons, len(theirs)


def _disagreements(ours: Values, theirs: Values, *, numbers: bool = True) -> dict[str, str]:
    found = {name: disagreement(ours[name], theirs[name], numbers=numbers) for name in theirs}
    return {name: text for name, text in found.items() if text}


def _runtime_values(case: Case, made: Sequence[str]) -> Values | None:
    """The tensors of a run of ONNX Runtime: with those of ``made``, else the outputs, else ``None``."""
    for model in _observed(case.model, made):
        run = runtime(model)
        found = answer(run, case.feeds) if run is not None else None
        if found is not None:
            return found
    return None


def _observed(model: onnx.ModelProto, made: Sequence[str]) -> Iterator[onnx.ModelProto]:
    with suppress(ModelError):
        if made:
            yield expose(model, made)
    yield model


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for body in subgraphs(node):
            yield from _nodes(body)


def _inner_tensors(model: onnx.ModelProto) -> list[str]:
    outputs = {value.name for value in model.graph.output}
    made = (name for node in model.graph.node for name in node.output)
    return [name for name in made if name and name not in outputs]


def _kind(node: onnx.NodeProto) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain else str(node.op_type)


def _short(reason: str) -> str:
    """Without the names of nodes, and without advice."""
    found = re.fullmatch(r"cannot raise .*? to opset \d+: (.*); export the model again .*", reason)
    text = found[1] if found else reason.partition(";")[0]
    return ", ".join(dict.fromkeys(re.sub(r" ?'[^']*'", "", text).split("; ")))
