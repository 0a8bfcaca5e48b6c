"""The table of adjoint rules: which function writes the adjoint of which operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import onnx

if TYPE_CHECKING:
    from lsa_onnx.rewrite.vjp.tape import Tape

# The adjoint of each input of a node, in order: the name of a tensor, or None where none flows. A
# rule may return fewer than there are inputs; the rest get none. Control flow also reads tensors that
# are not among its inputs, so its rules return tensor name → adjoint.
Adjoints = Sequence["str | None"] | Mapping[str, str]
# (tape, node, adjoint of each output or None) → adjoints of the inputs.
Rule = Callable[["Tape", "Op", "list[str | None]"], Adjoints]
# The same for the many operators with one output that matters: (tape, node, its adjoint).
SimpleRule = Callable[["Tape", "Op", str], Adjoints]

R = TypeVar("R", bound=Callable[..., Any])

_NEWEST = 1 << 30


class RuleRefused(Exception):
    """A rule cannot write the adjoint of this particular node; the text says why."""


@dataclass(frozen=True)
class Op:
    """A node as rules read it."""

    node: onnx.NodeProto

    @property
    def type(self) -> str:
        """The operator."""
        return str(self.node.op_type)

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs, "" for one that is left out."""
        return list(self.node.input)

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, "" for one that is left out."""
        return list(self.node.output)

    @property
    def x(self) -> str:
        """The first input."""
        return str(self.node.input[0])

    @property
    def y(self) -> str:
        """The first output."""
        return str(self.node.output[0])

    def input(self, index: int) -> str | None:
        """The name of an input, ``None`` where it is left out."""
        return self.node.input[index] or None if index < len(self.node.input) else None

    def output(self, index: int) -> str | None:
        """The name of an output, ``None`` where it is left out."""
        return self.node.output[index] or None if index < len(self.node.output) else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute (text as ``str``, numbers as a list), or ``default``."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default


@dataclass(frozen=True)
class _Entry:
    since: int
    until: int
    rule: Rule


_RULES: dict[tuple[str, str], list[_Entry]] = {}


def rule(
    *kinds: str, domain: str = "", since: int = 1, until: int = _NEWEST
) -> Callable[[SimpleRule], SimpleRule]:
    """Register the adjoint of operators of which only the first output has one.

    Args:
        kinds: Operator types.
        domain: Their domain.
        since: First opset of the model in which the rule holds. Models are raised to opset 18
            before rules apply, so 1 means every opset that a rule ever sees.
        until: Last such opset.
    """

    def register(simple: SimpleRule) -> SimpleRule:
        @wraps(simple)
        def full(tape: Tape, op: Op, adjoints: list[str | None]) -> Adjoints:
            first = adjoints[0]
            return () if first is None else simple(tape, op, first)

        _add(kinds, domain, _Entry(since, until, full))
        return simple

    return register


def rule_of_all(
    *kinds: str, domain: str = "", since: int = 1, until: int = _NEWEST
) -> Callable[[Rule], Rule]:
    """Register the adjoint of operators with several outputs; see ``rule``."""

    def register(full: Rule) -> Rule:
        _add(kinds, domain, _Entry(since, until, full))
        return full

    return register


def _add(kinds: Sequence[str], domain: str, entry: _Entry) -> None:
    for kind in kinds:
        _RULES.setdefault((domain, kind), []).append(entry)


def find_rule(node: onnx.NodeProto, opset: int) -> Rule | None:
    """The rule for ``node`` in a model of this opset, ``None`` where there is none."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    for entry in _RULES.get((domain, node.op_type), ()):
        if entry.since <= opset <= entry.until:
            return entry.rule
    return None


def ruled_operators() -> list[str]:
    """The operators that have a rule, sorted; those of other domains as ``domain::Type``."""
    return sorted(map(_full_name, _RULES))


def ruled_by_family() -> dict[str, list[str]]:
    """Family (the last part of the module's name) → its operators, both sorted."""
    families: dict[str, set[str]] = {}
    for kind, entries in _RULES.items():
        for entry in entries:
            family = entry.rule.__module__.rpartition(".")[2]
            families.setdefault(family, set()).add(_full_name(kind))
    return {family: sorted(families[family]) for family in sorted(families)}


def _full_name(kind: tuple[str, str]) -> str:
    domain, operator = kind
    return f"{domain}::{operator}" if domain else operator
