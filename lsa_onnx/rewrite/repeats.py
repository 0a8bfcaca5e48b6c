"""What may differ between two executions of one body within a run: values, shapes, whether it runs.

ONNX Runtime stacks what a Loop or a Scan collects, so each execution must give it the same shape.
Whatever is not known to keep its shape counts as changing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import numpy_helper

from lsa_onnx.rewrite.bodies import (
    Link,
    Place,
    by_position,
    flat,
    links,
    outer_reads,
    places,
    varying_inside,
)
from lsa_onnx.rewrite.expand.scope import FLOATS
from lsa_onnx.rewrite.graph import (
    SHAPE_READERS,
    constant_node_value,
    copy_model,
    forget_shape,
    is_standard,
    node_inputs,
    subgraphs,
    true_inputs,
)
from lsa_onnx.rewrite.shapes import KnownShapes

if TYPE_CHECKING:
    import onnx

REPEATING = ("Loop", "Scan")
_UNPREDICTABLE = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
# Where floats decide how large an output is, or the first input does.
_SHAPED_BY_FLOATS = frozenset({"NonZero", "Range", "Resize", "Unique", "Upsample"})
_SHAPED_BY_FIRST = frozenset(
    {
        "BlackmanWindow",
        "ConstantOfShape",
        "HammingWindow",
        "HannWindow",
        "MelWeightMatrix",
        "NonMaxSuppression",
        "StringSplit",
    }
)
# A dimension of a tensor: a number, or the input of the model and its axis that have the same.
Dim = int | tuple[str, int]


class Repeats:
    """Answers for all tensors of a model whose names are unique (``separate_names``). Never changes it.

    Attributes:
        known: Element types and shapes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Find out; in time linear in nodes for each state whose shape turns out to change."""
        self.known = KnownShapes(_for_inference(model))
        self._axes = _free_axes(model, self.known)
        self._values: set[str] = set()
        self._shapes: set[str] = set()
        # What inference says about these rests on a state that may not keep its shape.
        self._doubtful: set[str] = set()
        found, where = -1, places(model.graph)
        while found != self._size():
            found = self._size()
            self._walk(model.graph, where, repeated=False)

    def fixed_dims(self, tensor: str) -> list[Dim] | None:
        """The shape, if all of it is known before the model runs.

        A dimension is a number, or a (model input, axis) that has the same one.
        """
        dims = self.known.dims(tensor)
        if dims is None or tensor in self._doubtful:
            return None
        found = [self._dim(tensor, axis) if d is None else d for axis, d in enumerate(dims)]
        settled = [d for d in found if d is not None]
        return settled if len(settled) == len(found) else None

    def shape_changes(self, tensor: str) -> bool:
        """Whether the shape of a tensor that a Loop or Scan repeats may change between executions."""
        return tensor in self._shapes

    def count_changes(self, node: onnx.NodeProto) -> bool:
        """Whether the bodies of a node that is repeated may run more or less often each time."""
        if is_standard(node, ("Loop",)):
            return not self._values.isdisjoint(node.input[:2]) or self._stops_anywhere(node)
        if is_standard(node, ("Scan",)):
            return not self._shapes.isdisjoint(node.input)
        return not self._values.isdisjoint(node.input)

    def _stops_anywhere(self, node: onnx.NodeProto) -> bool:
        """Whether a Loop may end after another number of iterations each time that it runs."""
        (body,) = subgraphs(node)
        drawn = [name for inner in body.node if _is_unpredictable(inner) for name in inner.output]
        read = self._values & (outer_reads(body) | set(node.input))
        inside = varying_inside(node, body, read, also=drawn, by_value=False)
        return any(value.name in inside for value in body.output[:1])

    def _size(self) -> int:
        return len(self._values) + len(self._shapes) + len(self._doubtful)

    def _dim(self, tensor: str, axis: int) -> tuple[str, int] | None:
        return next((a for a in self._axes if self.known.same_dim(tensor, axis, *a)), None)

    def _walk(self, graph: onnx.GraphProto, where: list[Place], *, repeated: bool) -> None:
        inner = by_position(where)
        for position, node in enumerate(graph.node):
            self._follow(node, repeated=repeated)
            for place in inner.get(position, ()):
                again = is_standard(node, REPEATING)
                if again:
                    self._enter(node, place.graph)
                self._walk(place.graph, place.inner, repeated=repeated or again)

    def _enter(self, node: onnx.NodeProto, body: onnx.GraphProto) -> None:
        """Note what repeating ``body`` changes: all its inputs, the shapes of some of them."""
        self._values.update(value.name for value in body.input)
        for link in links(node, body):
            if link.fed in self._shapes or not self._keeps_shape(node, link):
                self._shapes.add(link.name)
            if link.fed in self._doubtful or self._is_assumed(node, link):
                self._doubtful.add(link.name)

    def _is_assumed(self, node: onnx.NodeProto, link: Link) -> bool:
        """Whether inference took a state to keep its shape, and did not find out that it does."""
        if self._keeps_shape(node, link) or self.known.rank(link.name) is None:
            return False
        if self.known.rank(link.returned) is None:
            return True
        return self.fixed_dims(link.name) is not None and self.fixed_dims(link.returned) is None

    def _keeps_shape(self, node: onnx.NodeProto, link: Link) -> bool:
        # ONNX Runtime refuses a Scan that changes the shape of a state.
        if is_standard(node, ("Scan",)) or not link.returned:
            return True
        kept = self.known.same_shape(link.name, link.returned)
        return kept and link.returned not in self._shapes

    def _follow(self, node: onnx.NodeProto, *, repeated: bool) -> None:
        """Note what ``node`` makes of what changes."""
        reads = set(node_inputs(node))
        made = [name for name in node.output if name]
        changing, assumed = self._states(node)
        if assumed or not reads.isdisjoint(self._doubtful):
            self._doubtful.update(made)
        resized = changing or not reads.isdisjoint(self._shapes)
        if is_standard(node, SHAPE_READERS):
            self._values.update(made if resized else ())
            return
        if not reads.isdisjoint(self._values) or (repeated and _is_unpredictable(node)):
            self._values.update(made)
        if resized or self._decides_shapes(node, reads):
            self._shapes.update(name for name in made if self.fixed_dims(name) is None)

    def _states(self, node: onnx.NodeProto) -> tuple[bool, bool]:
        """Whether a state of a Loop may change its shape, and whether that was taken to stay."""
        if not is_standard(node, ("Loop",)):
            return False, False
        (body,) = subgraphs(node)
        states = links(node, body)
        changing = not all(self._keeps_shape(node, link) for link in states)
        return changing, changing and any(self._is_assumed(node, link) for link in states)

    def _decides_shapes(self, node: onnx.NodeProto, reads: set[str]) -> bool:
        """Whether values that change may decide how large the outputs of ``node`` are.

        Shapes, axes and the like are integers that follow the data; of operators of other domains and
        of bodies nothing is known.
        """
        if node.domain not in ("", "ai.onnx") or any(True for _ in subgraphs(node)):
            return not reads.isdisjoint(self._values)
        if node.op_type in _SHAPED_BY_FLOATS:
            return not self._values.isdisjoint(node.input)
        deciding = node.input if node.op_type in _SHAPED_BY_FIRST else node.input[1:]
        return any(n in self._values and self.known.element(n) not in FLOATS for n in deciding)


def _is_unpredictable(node: onnx.NodeProto) -> bool:
    """Whether ``node``, or one inside of it, may return something else for the same inputs."""
    if not is_standard(node, _UNPREDICTABLE) and node.domain in ("", "ai.onnx"):
        return any(_is_unpredictable(inner) for body in subgraphs(node) for inner in body.node)
    return True


def _for_inference(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy from which more can be inferred, and nothing that it merely says.

    What shapes bodies return has to follow from their nodes. Constants of nodes can then be read from
    inside of bodies too.
    """
    prepared = copy_model(model)
    _hold_constants(prepared.graph)
    for place in flat(places(prepared.graph)):
        _hold_constants(place.graph)
        for value in place.graph.output:
            forget_shape(value)
    return prepared


def _hold_constants(graph: onnx.GraphProto) -> None:
    """Turn the constants that nodes of ``graph`` (changed) make into those it holds."""
    returned = {value.name for value in graph.output}
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if not is_standard(node, ("Constant",)) or node.output[0] in returned:
            continue
        value = constant_node_value(node)
        if value is not None:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            del graph.node[index]


def _free_axes(model: onnx.ModelProto, known: KnownShapes) -> list[tuple[str, int]]:
    """The axes of the model's inputs that are not fixed, one for each free dimension."""
    found: list[tuple[str, int]] = []
    for value in true_inputs(model.graph):
        for axis, size in enumerate(known.dims(value.name) or ()):
            same = (known.same_dim(value.name, axis, *other) for other in found)
            if size is None and not any(same):
                found.append((value.name, axis))
    return found
