"""``carry_out``: tensors of If, Loop and Scan bodies become tensors of the main graph.

A body returns the tensor as well, and the node stacks what its executions give: the branch of an If
that was taken adds a first axis of one, the other returns an empty tensor; a Loop and a Scan collect.
Of bodies in bodies, the axes that count executions are merged to one on the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.bodies import Place, by_position, flat, places
from lsa_onnx.rewrite.body_nodes import BodyNodes, Stack
from lsa_onnx.rewrite.graph import (
    copy_model,
    inferred,
    is_standard,
    opset,
    replace_nodes,
)
from lsa_onnx.rewrite.names import separate_names
from lsa_onnx.rewrite.repeats import REPEATING, Repeats

Key = tuple[str, str]

_FIRST_SCAN_WITHOUT_BATCH = 9
# Until then, inference refused an If whose branches return different shapes.
_FIRST_IF_OF_TWO_SHAPES = 11
# GatherND came with it: what merges two axes whatever the others are, and if they are 0.
_FIRST_TO_MERGE = 11
_CONTAINERS = {"sequence_type": "a sequence", "optional_type": "an optional", "map_type": "a map"}


@dataclass(frozen=True)
class CarriedOut:
    """A model whose bodies return more than before.

    Attributes:
        model: The model; its inputs and outputs are those it had.
        names: (path of the body, tensor in it) → tensor of the main graph, no output of it yet. Its
            shape is (executions of the body, *shape of the tensor).
        refused: (path of the body, tensor in it) → why it stays where it is.
    """

    model: onnx.ModelProto
    names: dict[Key, str]
    refused: dict[Key, str]


def carry_out(model: onnx.ModelProto, wanted: Mapping[str, Sequence[str]]) -> CarriedOut:
    """Carry tensors out of bodies.

    Executions are counted in the order in which they run. Where a branch is taken in some iterations
    of a Loop or Scan around it and not in others, one that was not taken counts and gives zeros.
    Linear in nodes.

    Args:
        model: Any ONNX model; it is not changed. Its outputs keep their values.
        wanted: Path of a body (``bodies``) → tensors that it defines: its inputs, constants and
            results of its nodes.

    Raises:
        ModelError: There is no such body, or it defines no tensor of that name.
    """
    if not any(wanted.values()):
        return CarriedOut(copy_model(model), {}, {})
    separated = separate_names(model)
    where = places(model.graph)
    tensors = _tensors(where, places(separated.graph), wanted)
    carrier = _Carrier(separated, tensors)
    stacks = carrier.graph(separated.graph, places(separated.graph), _Scope(main=True))
    names = {stack.key: stack.name for stack in stacks}
    return CarriedOut(separated, names, carrier.refused)


def _tensors(
    where: list[Place], separated: list[Place], wanted: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, str]]:
    """Path → wanted tensor → what it is called where all names are unique."""
    renamed = {
        old.path: dict(zip(_defined(old.graph), _defined(new.graph), strict=True))
        for old, new in zip(flat(where), flat(separated), strict=True)
        if old.path in wanted
    }
    for path, tensors in wanted.items():
        if path not in renamed:
            raise ModelError(
                f"cannot look into {path!r}: the model has no such body; "
                "`lsa_onnx.rewrite.bodies` lists those it has"
            )
        for tensor in tensors:
            if not tensor or tensor not in renamed[path]:
                raise ModelError(
                    f"cannot carry {tensor!r} out of {path!r}: that body defines no tensor of this "
                    "name; its inputs, constants and the results of its nodes can be carried out"
                )
    return {path: {t: renamed[path][t] for t in tensors} for path, tensors in wanted.items()}


def _defined(graph: onnx.GraphProto) -> list[str]:
    """What a graph defines, in the order of the file."""
    constants = [tensor.name for tensor in graph.initializer]
    constants += [sparse.values.name for sparse in graph.sparse_initializer]
    made = [name for node in graph.node for name in node.output]
    return [value.name for value in graph.input] + constants + made


@dataclass(frozen=True)
class _Scope:
    """Where a graph is: in no body, in one that is repeated, behind what lets nothing pass."""

    main: bool = False
    repeated: bool = False
    obstacle: str = ""


@dataclass
class _Carrier:
    """Carries ``tensors`` (path → tensor → unique name) out of the bodies of ``model`` (changed)."""

    model: onnx.ModelProto
    tensors: dict[str, dict[str, str]]
    refused: dict[Key, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._repeats = Repeats(self.model)
        self._containers = _containers(self.model)
        self._opset = opset(self.model)
        self._nodes = BodyNodes(self.model, self._repeats)

    def graph(self, graph: onnx.GraphProto, where: list[Place], scope: _Scope) -> list[Stack]:
        """Carry what is wanted of the bodies in ``graph`` (changed) to it; returns what came."""
        inner = by_position(where)
        found: list[Stack] = []
        nodes: list[onnx.NodeProto] = []
        for position, node in enumerate(graph.node):
            nodes.append(node)
            if position in inner:
                stacks, added = self._node(node, inner[position], scope)
                found += stacks
                nodes += added
        if len(nodes) > len(graph.node):
            replace_nodes(graph, nodes)
        return found

    def _node(
        self, node: onnx.NodeProto, where: list[Place], scope: _Scope
    ) -> tuple[list[Stack], list[onnx.NodeProto]]:
        """Make ``node`` return what is wanted of its bodies; also the nodes to put behind it."""
        repeats = is_standard(node, REPEATING)
        obstacle = scope.obstacle or self._obstacle(node, scope)
        inside = _Scope(repeated=scope.repeated or repeats, obstacle=obstacle)
        returned = [self._body(place, inside) for place in where]
        if repeats:
            return self._nodes.collect(node, where[0].graph, returned[0], last=scope.main)
        if is_standard(node, ("If",)):
            uneven = scope.repeated and self._repeats.count_changes(node)
            kept = [self._fillable(stacks, uneven=uneven) for stacks in returned]
            found = self._nodes.branch(node, where, kept, uneven=uneven, last=scope.main)
            return found, []
        return [], []

    def _body(self, place: Place, scope: _Scope) -> list[Stack]:
        """What the body at ``place`` (changed) can return of what is wanted in it."""
        inner = self.graph(place.graph, place.inner, scope)
        own: list[Stack] = []
        for tensor, name in self.tensors.get(place.path, {}).items():
            stack = Stack((place.path, tensor), name, name, counted=False, single=True)
            reason = scope.obstacle or self._reason(stack, scope)
            if reason:
                self.refused[stack.key] = reason
            else:
                own.append(stack)
        return [*self._mergeable(inner, place), *own]

    def _obstacle(self, node: onnx.NodeProto, scope: _Scope) -> str:
        """Why nothing can leave the bodies of ``node``."""
        if not is_standard(node, ("If", *REPEATING)):
            return f"inside a {node.op_type} node, whose body returns nothing but its result"
        if is_standard(node, ("Scan",)) and self._opset < _FIRST_SCAN_WITHOUT_BATCH:
            return f"inside a Scan of opset {self._opset}, which runs once for each sample"
        if is_standard(node, ("If",)) and self._opset < _FIRST_IF_OF_TWO_SHAPES:
            return f"inside an If of opset {self._opset}, whose branches must return equal shapes"
        again = is_standard(node, REPEATING) and scope.repeated
        if again and self._repeats.count_changes(node):
            return (
                f"inside a {node.op_type} that may run more or less often each time it is reached"
            )
        return ""

    def _reason(self, stack: Stack, scope: _Scope) -> str:
        """Why a tensor cannot leave its body."""
        path = stack.key[0]
        if stack.source in self._containers:
            return f"{self._containers[stack.source]}, made inside {path}"
        if self._repeats.known.element(stack.source) == onnx.TensorProto.STRING:
            return f"text, made inside {path}"
        if scope.repeated and self._repeats.shape_changes(stack.source):
            return f"its shape may change from one execution of {path} to the next"
        return ""

    def _mergeable(self, stacks: list[Stack], place: Place) -> list[Stack]:
        if self._opset >= _FIRST_TO_MERGE or not is_standard(place.node, REPEATING):
            return stacks
        reason = f"inside bodies of bodies, which takes opset 11, not {self._opset}"
        self.refused.update({stack.key: reason for stack in stacks})
        return []

    def _fillable(self, stacks: list[Stack], *, uneven: bool) -> list[Stack]:
        """Those for which the branch that is not taken can return something."""
        kept = []
        for stack in stacks:
            path = stack.key[0]
            if self._repeats.known.element(stack.source) is None:
                self.refused[stack.key] = f"of unknown element type, made inside {path}"
            elif uneven and not self._nodes.can_fill(stack):
                self.refused[stack.key] = (
                    f"its shape is not known beforehand, and {path} runs in some iterations only"
                )
            else:
                kept.append(stack)
        return kept


def _containers(model: onnx.ModelProto) -> dict[str, str]:
    """Tensor name → what it is, for all that are no tensors."""
    shaped = inferred(model, values=False)
    found: dict[str, str] = {}
    graphs = [shaped.graph, *(place.graph for place in flat(places(shaped.graph)))]
    for graph in graphs:
        for value in (*graph.input, *graph.value_info, *graph.output):
            kind = value.type.WhichOneof("value")
            if kind in _CONTAINERS:
                found[value.name] = _CONTAINERS[kind]
    return found
