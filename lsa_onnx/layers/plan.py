"""Choose the tensors to score, and account for every other one."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.errors import DataError
from lsa_onnx.layers.graph_view import GraphView, main_output
from lsa_onnx.layers.obstacles import Obstacles, Types
from lsa_onnx.layers.points import reading_point
from lsa_onnx.report.document import LayerInfo, NotScored
from lsa_onnx.rewrite.graph import subgraphs

if TYPE_CHECKING:
    import onnx

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
        selectors: Each one is ``activations`` (one point per learnable layer, after its activation:
            the paper's choice), ``learnable`` (the raw outputs of learnable nodes), ``all`` (every
            float tensor), ``op:TYPE``, ``re:REGEX`` on tensor or node names, or a tensor or node
            name, ``*`` and ``?`` allowed. Several are united; each may itself be a comma-separated
            list.

    Raises:
        DataError: A selector is malformed, or matches nothing.
    """
    view = GraphView(model)
    choice = _Choice(view, types)
    chosen: dict[str, list[str]] = {}
    for selector in _split(selectors, view):
        for tensor, learnable in choice.matching(selector).items():
            names = chosen.setdefault(tensor, [])
            names += [name for name in learnable if name not in names]
    layers: list[LayerInfo] = []
    not_scored: list[NotScored] = []
    nearest: dict[str, tuple[str, ...]] = {}
    for node in view.graph.node:
        reads = view.varying_inputs(node)
        above = tuple(dict.fromkeys(tensor for name in reads for tensor in nearest.get(name, ())))
        for tensor in filter(None, node.output):
            reason = choice.why_not(tensor, chosen)
            if reason is None:
                layers.append(_info(view, types, node, tensor, chosen[tensor], list(above)))
            else:
                not_scored.append(NotScored(tensor, view.name(node), node.op_type, reason))
            nearest[tensor] = above if reason else (tensor,)
        not_scored += _inside(node, view.name(node))
    return LayerPlan(layers, not_scored)


class _Choice:
    """The candidate tensors and what a selector picks among them."""

    def __init__(self, view: GraphView, types: Types) -> None:
        self._view = view
        self._obstacle = Obstacles(view, types).reason
        self._heads: set[str] = set()

    def why_not(self, tensor: str, chosen: Container[str]) -> str | None:
        """Why ``tensor`` is not scored when ``chosen`` are picked, ``None`` if it is."""
        obstacle = self._obstacle(tensor)
        if obstacle or tensor in chosen:
            return obstacle
        if tensor in self._heads:
            return "output head: no hidden representation follows it"
        return "not chosen by --layers"

    def matching(self, selector: str) -> dict[str, list[str]]:
        """What ``selector`` picks: tensor → names of the learnable nodes it stands for."""
        if selector == "activations":
            return self._points() or self._learnable()
        if selector == "learnable":
            return self._learnable()
        if selector == "all":
            return {tensor: [] for tensor in self._view.made if not self._obstacle(tensor)}
        found = [tensor for tensor in self._view.made if self._picks(selector, tensor)]
        if not found:
            raise DataError(self._nothing(selector))
        usable = [tensor for tensor in found if not self._obstacle(tensor)]
        if not usable:
            raise DataError(
                f"--layers {selector!r} matches only {found[0]!r}, which is not scored: "
                f"{self._obstacle(found[0])}; `lsa-onnx layers MODEL` lists what can be scored"
            )
        return {tensor: [] for tensor in usable}

    def _points(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for node in filter(self._view.is_learnable, self._view.graph.node):
            point = reading_point(self._view, node)
            if point.head:
                self._heads.add(point.tensor)
            elif not self._obstacle(point.tensor):
                found.setdefault(point.tensor, []).append(self._view.name(node))
        return found

    def _learnable(self) -> dict[str, list[str]]:
        learnable = filter(self._view.is_learnable, self._view.graph.node)
        made = {main_output(node): [self._view.name(node)] for node in learnable}
        return {tensor: names for tensor, names in made.items() if not self._obstacle(tensor)}

    def _picks(self, selector: str, tensor: str) -> bool:
        node = self._view.made[tensor]
        if selector.startswith("op:"):
            return fnmatch.fnmatchcase(node.op_type, selector[3:])
        names = (tensor, self._view.name(node))
        if selector.startswith("re:"):
            return any(_compiled(selector[3:]).search(name) for name in names)
        return selector in names or any(fnmatch.fnmatchcase(name, selector) for name in names)

    def _nothing(self, selector: str) -> str:
        names = dict.fromkeys([*self._view.made, *self._view.by_name])
        near = difflib.get_close_matches(selector, names, n=3)
        hint = f" (did you mean {', '.join(map(repr, near))}?)" if near else ""
        return (
            f"--layers {selector!r} matches no tensor or node{hint}; accepted are "
            f"{', '.join(_SETS)}, op:TYPE, re:REGEX and names with wildcards; "
            "`lsa-onnx layers MODEL` lists the names"
        )


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(f"--layers 're:{pattern}' is not a regular expression: {error}") from None


def _split(selectors: Iterable[str], view: GraphView) -> list[str]:
    """Comma-separated lists taken apart, except where the whole text is a name or a regular expression."""
    names = view.made.keys() | view.by_name.keys()
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
    weights = sum(view.parameters(view.by_name[name]) for name in learnable)
    dtype, shape = types[tensor]
    scope = {entry.key: entry.value for entry in node.metadata_props}
    return LayerInfo(
        tensor=tensor,
        node=view.name(node),
        op=node.op_type,
        learnable=learnable,
        shape=shape,
        dtype=dtype,
        parameters=weights or view.parameters(node),
        previous=previous,
        scope=next((scope[key] for key in _SCOPE_KEYS if key in scope), None),
        numerical_floor=None,
    )


def _inside(node: onnx.NodeProto, name: str) -> Iterator[NotScored]:
    """The tensors in the bodies of a control-flow node, at any depth."""
    reason = f"inside the body of {node.op_type} node {name!r}"
    for body in subgraphs(node):
        for inner in body.node:
            inner_name = inner.name or inner.op_type
            for tensor in filter(None, inner.output):
                yield NotScored(tensor, inner_name, inner.op_type, reason)
            yield from _inside(inner, inner_name)
