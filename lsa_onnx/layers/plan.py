"""Choose the tensors to score, and account for every other one."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from lsa_onnx.errors import DataError
from lsa_onnx.layers.graph_view import GraphView
from lsa_onnx.layers.operators import FLOAT_TYPES
from lsa_onnx.layers.points import reading_point
from lsa_onnx.report.document import LayerInfo, NotScored
from lsa_onnx.rewrite.graph import subgraphs

# Tensor → (element type such as "float32" or a container such as "seq(tensor(float32))", shape or None).
Types = Mapping[str, "tuple[str, list[int | str | None] | None]"]

_SETS = ("activations", "learnable", "all")
_SCOPE_KEYS = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.stack_trace", "namespace")


@dataclass(frozen=True)
class LayerPlan:
    """The tensors to score, in graph order, and all others with the reason why not."""

    layers: list[LayerInfo]
    not_scored: list[NotScored]


def plan_layers(
    model: onnx.ModelProto, types: Types, selectors: Iterable[str] = ("activations",)
) -> LayerPlan:
    """Decide which tensors of the main graph are scored.

    Args:
        model: The model.
        types: Type and shape of the tensors, as the runtime infers them.
        selectors: Each one is ``activations`` (one point per learnable layer, after its activation: the paper's
            choice), ``learnable`` (the raw outputs of learnable nodes), ``all`` (every float tensor),
            ``op:TYPE``, ``re:REGEX`` on tensor or node names, or a tensor or node name, ``*`` and ``?`` allowed.
            Several are united; each may itself be a comma-separated list.

    Raises:
        DataError: A selector is malformed, or matches nothing.
    """
    view = GraphView(model)
    choice = _Choice(view, types)
    chosen: dict[str, list[str]] = {}
    for selector in _split(selectors, view):
        for tensor, learnable in choice.matching(selector).items():
            chosen.setdefault(tensor, [])
            chosen[tensor] += [name for name in learnable if name not in chosen[tensor]]
    layers: list[LayerInfo] = []
    not_scored: list[NotScored] = []
    nearest: dict[str, tuple[str, ...]] = {}
    for node in view.graph.node:
        above = tuple(dict.fromkeys(t for n in view.varying_inputs(node) for t in nearest.get(n, ())))
        for tensor in filter(None, node.output):
            nearest[tensor] = above
            reason = choice.obstacle(tensor) or (
                None if tensor in chosen else choice.heads.get(tensor, "not chosen by --layers")
            )
            if reason:
                not_scored.append(NotScored(tensor, view.name(node), node.op_type, reason))
                continue
            nearest[tensor] = (tensor,)
            layers.append(_info(view, types, node, tensor, chosen[tensor], list(above)))
        not_scored += _inside(view, node)
    return LayerPlan(layers, not_scored)


class _Choice:
    """The candidate tensors and what a selector picks among them."""

    def __init__(self, view: GraphView, types: Types) -> None:
        self._view = view
        self._types = types
        self.heads: dict[str, str] = {}

    def obstacle(self, tensor: str) -> str | None:
        """Why ``tensor`` cannot be scored whatever was chosen, ``None`` if it can."""
        if tensor not in self._view.varying:
            return "constant: it does not depend on the input"
        dtype, shape = self._types.get(tensor, ("unknown type", None))
        if dtype not in FLOAT_TYPES:
            return f"not floating point ({dtype})"
        if shape and 0 in shape:
            return f"empty: its shape is {shape}"
        return None

    def matching(self, selector: str) -> dict[str, list[str]]:
        """Tensor → names of the learnable nodes it stands for, for all tensors that ``selector`` picks."""
        if selector == "activations":
            return self._points() or self._learnable()
        if selector == "learnable":
            return self._learnable()
        if selector == "all":
            return {tensor: [] for tensor in self._view.made if not self.obstacle(tensor)}
        found = [tensor for tensor in self._view.made if self._picks(selector, tensor)]
        if not found:
            raise DataError(self._nothing(selector))
        usable = [tensor for tensor in found if not self.obstacle(tensor)]
        if not usable:
            raise DataError(f"--layers {selector!r} matches only {found[0]!r}, which is not scored: {self.obstacle(found[0])}")
        return {tensor: [] for tensor in usable}

    def _points(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for node in filter(self._view.is_learnable, self._view.graph.node):
            point = reading_point(self._view, node)
            if point.head:
                self.heads[point.tensor] = "output head: no hidden representation follows it"
            elif not self.obstacle(point.tensor):
                found.setdefault(point.tensor, []).append(self._view.name(node))
        return found

    def _learnable(self) -> dict[str, list[str]]:
        nodes = filter(self._view.is_learnable, self._view.graph.node)
        return {n.output[0]: [self._view.name(n)] for n in nodes if not self.obstacle(n.output[0])}

    def _picks(self, selector: str, tensor: str) -> bool:
        node = self._view.made[tensor]
        if selector.startswith("op:"):
            return fnmatch.fnmatchcase(node.op_type, selector[3:])
        names = (tensor, self._view.name(node))
        if selector.startswith("re:"):
            return any(_compiled(selector[3:]).search(name) for name in names)
        return selector in names or any(fnmatch.fnmatchcase(name, selector) for name in names)

    def _nothing(self, selector: str) -> str:
        names = [*self._view.made, *(self._view.name(n) for n in self._view.graph.node)]
        near = difflib.get_close_matches(selector, names, n=3)
        hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
        return (
            f"--layers {selector!r} matches no tensor or node{hint} Accepted are {', '.join(_SETS)}, op:TYPE, "
            "re:REGEX and names with wildcards; `lsa-onnx layers MODEL` lists them"
        )


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(f"--layers 're:{pattern}' is not a regular expression: {error}") from None


def _split(selectors: Iterable[str], view: GraphView) -> list[str]:
    """Comma-separated lists taken apart, except where the whole text is a name or a regular expression."""
    names = set(view.made) | {view.name(node) for node in view.graph.node}
    parts: list[str] = []
    for text in selectors:
        whole = text in names or text.startswith("re:")
        parts += [text] if whole else [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise DataError(f"--layers is empty; give one of {', '.join(_SETS)}, or a filter")
    return parts


def _info(
    view: GraphView,
    types: Types,
    node: onnx.NodeProto,
    tensor: str,
    learnable: list[str],
    previous: list[str],
) -> LayerInfo:
    named = {view.name(n): n for n in view.graph.node} if learnable else {}
    weights = sum(view.parameters(named[name]) for name in learnable) or view.parameters(node)
    dtype, shape = types[tensor]
    scope = {entry.key: entry.value for entry in node.metadata_props}
    return LayerInfo(
        tensor=tensor,
        node=view.name(node),
        op=node.op_type,
        learnable=learnable,
        shape=shape,
        dtype=dtype,
        parameters=weights,
        previous=previous,
        scope=next((scope[key] for key in _SCOPE_KEYS if key in scope), None),
        numerical_floor=None,
    )


def _inside(view: GraphView, node: onnx.NodeProto) -> list[NotScored]:
    """The tensors in the bodies of a control-flow node."""
    reason = f"inside the body of {node.op_type} node {view.name(node)!r}"
    return [
        NotScored(tensor, inner.name or inner.op_type, inner.op_type, reason)
        for body in subgraphs(node)
        for inner in body.node
        for tensor in inner.output
        if tensor
    ]
