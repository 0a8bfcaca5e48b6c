"""Choose the tensors to score, and account for every other one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.layers.operators import ARITHMETIC, LEARNABLE, NORMALISATIONS
from lsa_onnx.layers.scopes import Scope, scopes
from lsa_onnx.layers.selection import Selection
from lsa_onnx.report.document import LayerInfo, NotScored
from lsa_onnx.rewrite.graph import node_key

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.layers.graph_view import GraphView
    from lsa_onnx.layers.survey import Survey

# Where nothing that is scored cuts it, a residual stream collects every layer before.
_MOST_BEFORE = 256
_SCOPE_KEYS = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.stack_trace", "namespace")


@dataclass(frozen=True)
class Source:
    """Where a layer is: the tensor's own name, and the path of its body (``None``: the main graph)."""

    tensor: str
    body: str | None


@dataclass(frozen=True)
class LayerPlan:
    """The tensors to score, in graph order, and all others with the reason why not.

    ``sources`` tells where each layer is, by its name in the report.
    """

    layers: list[LayerInfo]
    not_scored: list[NotScored]
    sources: dict[str, Source]

    def without(self, reasons: Mapping[str, str]) -> LayerPlan:
        """The plan with some layers left out: layer → reason."""
        left_out = [
            NotScored(info.tensor, info.node, info.op, reasons[info.tensor])
            for info in self.layers
            if info.tensor in reasons
        ]
        kept = {name: source for name, source in self.sources.items() if name not in reasons}
        layers = [
            dataclasses.replace(info, previous=[n for n in info.previous if n in kept])
            for info in self.layers
            if info.tensor in kept
        ]
        return LayerPlan(layers, [*left_out, *self.not_scored], kept)


def plan_layers(survey: Survey, selectors: Iterable[str] = ("activations",)) -> LayerPlan:
    """Decide which tensors are scored, those of If, Loop and Scan bodies included.

    Args:
        survey: The model, and what the runtime knows of its tensors.
        selectors: Each one is ``activations`` (one point per learnable layer, after its activation:
            the paper's choice), ``learnable`` (the raw outputs of learnable nodes), ``all`` (every
            tensor that can be read as floats), ``op:TYPE``, ``re:REGEX`` on tensor or node names, or
            a tensor or node name, ``*`` and ``?`` allowed. Several are united; each may itself be a
            comma-separated list.

    Raises:
        DataError: A selector is malformed, or matches nothing.
    """
    graphs = scopes(survey)
    selection = Selection(graphs)
    selection.take(selectors)
    walk = _Walk(selection)
    walk.through(graphs[0], {})
    return walk.plan


Nearest = dict[str, tuple[str, ...]]


class _Walk:
    """Goes through all nodes in the order in which they run."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self.plan = LayerPlan([], [], {})

    def through(self, scope: Scope, nearest: Nearest) -> Nearest:
        """Plan the tensors of ``scope``.

        Args:
            scope: A graph.
            nearest: Tensor → the scored tensors that feed it without another one between, of those
                that the graph is given.

        Returns:
            The same for all tensors that it knows.
        """
        nearest = dict(nearest)
        for node in scope.view.graph.node:
            above = _united(nearest, scope.view.varying_inputs(node))
            for inner in scope.children.get(node_key(node), ()):
                above = self._inside(inner, above, nearest)
            for tensor in filter(None, node.output):
                scored = self._account(scope, node, tensor, above)
                nearest[tensor] = (scope.names[tensor],) if scored else above
        return nearest

    def _inside(self, scope: Scope, above: tuple[str, ...], nearest: Nearest) -> tuple[str, ...]:
        """Plan a body; returns what feeds the results of its node."""
        entering = {value.name: above for value in scope.view.graph.input}
        found = self.through(scope, {**nearest, **entering})
        return tuple(dict.fromkeys([*_united(found, scope.view.returned), *above]))

    def _account(
        self, scope: Scope, node: onnx.NodeProto, tensor: str, above: tuple[str, ...]
    ) -> bool:
        reason = self._selection.why_not(scope, tensor)
        name = scope.names[tensor]
        if reason is not None:
            entry = NotScored(name, scope.view.name(node), node.op_type, reason)
            self.plan.not_scored.append(entry)
            return False
        learnable = self._selection.chosen[name]
        self.plan.layers.append(_info(scope, node, tensor, learnable, list(above)))
        self.plan.sources[name] = Source(tensor, scope.view.path)
        return True


def _united(nearest: Mapping[str, tuple[str, ...]], names: Sequence[str]) -> tuple[str, ...]:
    if len(names) == 1:
        return nearest.get(names[0], ())
    found = tuple(dict.fromkeys(each for name in names for each in nearest.get(name, ())))
    return found[-_MOST_BEFORE:]


def _own_parameters(view: GraphView, node: onnx.NodeProto) -> int:
    """Those of a node that no learnable one feeds; constants of other operators are shapes and axes."""
    counted = LEARNABLE.keys() | NORMALISATIONS | ARITHMETIC | {"PRelu"}
    return view.parameters(node) if node.op_type in counted else 0


def _info(
    scope: Scope, node: onnx.NodeProto, tensor: str, learnable: list[str], previous: list[str]
) -> LayerInfo:
    view = scope.view
    weights = sum(view.parameters(view.by_name[name]) for name in learnable)
    dtype, shape = scope.types[tensor]
    recorded = {entry.key: entry.value for entry in node.metadata_props}
    reading = scope.obstacles.reading(tensor)
    return LayerInfo(
        tensor=scope.names[tensor],
        node=view.name(node),
        op=node.op_type,
        learnable=learnable,
        shape=shape,
        dtype=dtype,
        parameters=weights or _own_parameters(view, node),
        previous=previous,
        scope=next((recorded[key] for key in _SCOPE_KEYS if key in recorded), None),
        numerical_floor=None,
        body=view.path,
        reading=reading.how if reading else None,
    )
