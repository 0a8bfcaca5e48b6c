"""The table of operators: which torch function computes which ONNX operator, and in which opsets.

A function of the table takes the inputs of the operator in ONNX's order, ``None`` for one that is left
out, then its attributes as keyword arguments under ONNX's own names and with ONNX's defaults. It
returns a tensor, or a tuple where the operator has several outputs. Annotations say in which form an
input is wanted; they are read from the function's signature:

* ``Tensor``: as a tensor;
* ``Ints``, ``Floats``: as a flat list of Python numbers, as torch takes shapes, axes and scales;
* ``Scalar``: as a Python number where the file holds a single one, else as a tensor.

The keyword argument ``outputs``, where there is one, is the number of outputs that the node declares.
What must know whether the module trains (BatchNormalization, Dropout), or holds graphs of its own, is a
``torch.nn.Module`` instead: its constructor takes the attributes, its ``forward`` the inputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import onnx
import torch

from lsa_trainer.tensors import tensor_of

Ints: TypeAlias = list[int]
Floats: TypeAlias = list[float]
Scalar: TypeAlias = float | int | torch.Tensor
# Forms of an input, by the first word of its annotation.
_FORMS = ("Ints", "Floats", "Scalar")

_NEWEST = 1 << 30

Function: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=Function)
# (node as the table sees it) → why it cannot be run, or None.
Refusal: TypeAlias = Callable[["Op"], "str | None"]


@dataclass(frozen=True)
class Op:
    """A node as refusals read it."""

    node: onnx.NodeProto
    opset: int

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Its attributes: text as ``str``, lists as lists, the rest as ONNX gives it."""
        return {a.name: _value(a) for a in self.node.attribute}

    def has_input(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.node.input) and bool(self.node.input[index])

    def has_output(self, index: int) -> bool:
        """Whether an output is wanted."""
        return index < len(self.node.output) and bool(self.node.output[index])


@dataclass(frozen=True)
class Entry:
    """How an operator runs in a range of opsets.

    Attributes:
        function: See the module.
        since: First opset in which it holds.
        until: Last such opset.
        refuse: Why a particular node cannot be run.
    """

    function: Function
    since: int
    until: int
    refuse: Refusal | None = field(default=None, repr=False)

    @property
    def is_module(self) -> bool:
        """Whether ``function`` makes a ``torch.nn.Module``."""
        return inspect.isclass(self.function)

    @cached_property
    def forms(self) -> list[str]:
        """The wanted form of each input: "Ints", "Floats", "Scalar" or "Tensor"."""
        return [_form(p) for p in self._inputs if p.kind is not p.VAR_POSITIONAL]

    @cached_property
    def rest(self) -> str | None:
        """The form of all further inputs, ``None`` where it takes no more."""
        return next((_form(p) for p in self._inputs if p.kind is p.VAR_POSITIONAL), None)

    @cached_property
    def keywords(self) -> frozenset[str]:
        """The attributes it takes, and ``outputs``."""
        parameters = inspect.signature(self.function).parameters.values()
        return frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def returns_tuple(self, op: Op) -> bool:
        """Whether the outputs of ``op`` come, or may come, as a tuple."""
        return len(op.node.output) > 1 or "tuple" in str(self._signature.return_annotation)

    @property
    def _inputs(self) -> list[inspect.Parameter]:
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        found = [p for p in self._signature.parameters.values() if p.kind in kinds]
        return [p for p in found if p.name != "self"]

    @cached_property
    def _signature(self) -> inspect.Signature:
        """Of what takes the tensors."""
        called = self.function.forward if self.is_module else self.function  # type: ignore[attr-defined]
        return inspect.signature(called)


_TABLE: dict[tuple[str, str], list[Entry]] = {}


def operator(
    *kinds: str,
    domain: str = "",
    since: int = 1,
    until: int = _NEWEST,
    refuse: Refusal | None = None,
) -> Callable[[F], F]:
    """Register a function or a ``torch.nn.Module`` for operators.

    Args:
        kinds: Operator types.
        domain: Their domain.
        since: First opset of the model in which it holds. Models are raised to opset 18 before the
            table is asked, so 1 means every opset that it ever sees.
        until: Last such opset.
        refuse: Says why a particular node cannot be run, ``None`` if it can.
    """

    def register(function: F) -> F:
        for kind in kinds:
            _TABLE.setdefault((domain, kind), []).append(Entry(function, since, until, refuse))
        return function

    return register


def find(node: onnx.NodeProto, opset: int) -> Entry | None:
    """How ``node`` runs in a model of this opset; ``None`` where the table does not say."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    for entry in _TABLE.get((domain, node.op_type), ()):
        if entry.since <= opset <= entry.until:
            return entry
    return None


def entry_of(node: onnx.NodeProto, opset: int) -> Entry:
    """How ``node`` runs, for a node that ``why_not`` has nothing against.

    Raises:
        KeyError: The table does not say.
    """
    entry = find(node, opset)
    if entry is None:
        raise KeyError(f"{node.domain}::{node.op_type} at opset {opset}")
    return entry


def why_not(node: onnx.NodeProto, opset: int) -> str | None:
    """Why ``node`` cannot be run in torch; ``None`` if it can."""
    entry = find(node, opset)
    if entry is None:
        return "not in the operator table"
    return entry.refuse(Op(node, opset)) if entry.refuse else None


def operators() -> dict[str, list[str]]:
    """Family (the module that holds the function) → its operators, both sorted."""
    families: dict[str, set[str]] = {}
    for (domain, kind), entries in _TABLE.items():
        for entry in entries:
            family = entry.function.__module__.rpartition(".")[2]
            families.setdefault(family, set()).add(f"{domain}::{kind}" if domain else kind)
    return {family: sorted(families[family]) for family in sorted(families)}


def attributes_for(entry: Entry, op: Op) -> Mapping[str, Any]:
    """The keyword arguments with which ``entry`` is called for ``op``."""
    given = {name: v for name, v in op.attributes.items() if name in entry.keywords}
    if "outputs" in entry.keywords:
        given["outputs"] = len(_without_trailing_blanks(op.node.output))
    return given


def _without_trailing_blanks(names: Sequence[str]) -> list[str]:
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _form(parameter: inspect.Parameter) -> str:
    text = str(parameter.annotation).partition("|")[0].strip()
    return text if text in _FORMS else "Tensor"


def _value(attribute: onnx.AttributeProto) -> Any:
    """As table functions take it; a tensor becomes a torch tensor."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return tensor_of(value, None)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [text.decode() for text in value]
    return list(value) if attribute.type in _LISTS else value


_LISTS = (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS)
