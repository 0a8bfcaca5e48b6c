"""Why a tensor cannot be scored, whatever was chosen."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.layers.operators import RANDOM, SHAPE_SLOTS, VALUE_SHAPED
from lsa_onnx.rewrite.graph import (
    constant_value,
    is_standard,
    node_key,
    subgraphs,
    value_reads,
)
from lsa_onnx.rewrite.readings import Reading, Readings

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.layers.graph_view import GraphView
    from lsa_onnx.layers.survey import Inside

# Tensor → (element type such as "float32" or a container such as "seq(tensor(float32))", shape or
# None).
Types = Mapping[str, "tuple[str, list[int | str | None] | None]"]
# Tensor → what is behind it, in words.
Causes = Mapping[str, str]
# Slice takes lengths that are computed since then.
_FIRST_UNEVEN = 10


class Obstacles:
    """Answers for every tensor of the main graph, or of a body."""

    def __init__(
        self,
        view: GraphView,
        types: Types,
        readings: Readings,
        batches: Collection[int | str | None],
        *,
        inside: Inside | None = None,
        outer: Obstacles | None = None,
        version: int = _FIRST_UNEVEN,
    ) -> None:
        """Prepare.

        Args:
            view: The graph.
            types: Type and shape of its tensors, as the runtime infers them.
            readings: How tensors that are not plain floats are read.
            batches: The leading dimensions of the model's inputs.
            inside: For a body, what was found out about it.
            outer: Likewise, the answers for the graph around it.
            version: Likewise, the opset of the model.
        """
        self._view = view
        self._types = types
        self._readings = readings
        self._batches = batches
        self._inside = inside
        self._reasons: dict[str, str | None] = {}
        self._uneven = inside is not None and inside.body.executed_by_values
        self._version = version
        self.random: Causes = self._caused(list(_random_nodes(view)), outer.random if outer else {})
        self.value_shaped: Causes = self._caused(
            list(_value_shaped_nodes(view)), outer.value_shaped if outer else {}
        )

    def reason(self, tensor: str) -> str | None:
        """Why ``tensor`` cannot be scored, ``None`` if it can."""
        if tensor not in self._reasons:
            self._reasons[tensor] = self._found(tensor)
        return self._reasons[tensor]

    def _found(self, tensor: str) -> str | None:
        if tensor in self.random:
            return f"random: it depends on {self.random[tensor]}, which draws anew in every run"
        if tensor not in self._view.varying:
            return "constant: it does not depend on the input"
        if self._inside is not None and tensor in self._inside.refused:
            return self._inside.refused[tensor]
        if self._uneven and self._version < _FIRST_UNEVEN:
            return f"it runs as often as values say, which takes opset {_FIRST_UNEVEN} to compare"
        found = self._readings.of(self._main_name(tensor))
        if isinstance(found, str):
            return found
        shape = self._types[tensor][1]
        if shape and 0 in shape:
            return f"empty: its shape is {shape}"
        if tensor in self.value_shaped and not self._is_settled(shape):
            return f"its shape depends on the input's values, by {self.value_shaped[tensor]}"
        return None

    def reading(self, tensor: str) -> Reading | None:
        """How a tensor that can be scored is read; ``None`` where it is read as it is."""
        found = self._readings.of(self._main_name(tensor))
        return found if isinstance(found, Reading) and found.result != found.tensor else None

    def stand_in(self, tensor: str) -> str:
        """The tensor that is scored in place of a quantised one; the tensor itself without one."""
        other = self._readings.stand_in(tensor) if self._inside is None else None
        return other or tensor

    def _main_name(self, tensor: str) -> str:
        return tensor if self._inside is None else self._inside.carried[tensor]

    def _caused(self, sources: Sequence[onnx.NodeProto], outer: Causes) -> dict[str, str]:
        """Tensor → which of ``sources`` it depends on, or what of the graph around it, in words."""
        given: Causes = outer
        if self._inside is not None:
            named = [f"{node.op_type} node {self._view.name(node)!r}" for node in sources]
            given = _entering(self._inside, outer, named)
        return _traced(self._view, sources, given)

    def _is_settled(self, shape: list[int | str | None] | None) -> bool:
        """Whether all but the batch is known of a shape, so that values cannot change it."""
        if shape is None:
            return False
        if not all(isinstance(d, int) for d in shape[1:]):
            return False
        return (
            not shape
            or isinstance(shape[0], int)
            or (shape[0] is not None and shape[0] in self._batches)
        )


def _traced(view: GraphView, sources: Iterable[onnx.NodeProto], given: Causes) -> dict[str, str]:
    """Tensor → one of ``sources``, or of the causes ``given``, whose values it depends on, in words."""
    own = {node_key(node): f"{node.op_type} node {view.name(node)!r}" for node in sources}
    found = dict(given)
    for node in view.graph.node:
        cause = next(
            (found[name] for name in value_reads(node) if name in found), own.get(node_key(node))
        )
        if cause is not None:
            found.update({name: cause for name in node.output if name and name not in found})
    return found


def _entering(inside: Inside, outer: Causes, own: Iterable[str]) -> dict[str, str]:
    """What a body has from the graph around it: ``outer``, also by way of its inputs.

    A body that runs again reads what it made: one cause in it (``own``) is then one of all.
    """
    again = inside.body.node.op_type in ("Loop", "Scan")
    passed = (outer[name] for name in inside.body.node.input if name in outer)
    cause = next(passed, next(iter(own), None) if again else None)
    entering = {value.name: cause for value in inside.body.graph.input} if cause else {}
    return {**outer, **entering}


def _random_nodes(view: GraphView) -> Iterator[onnx.NodeProto]:
    tensors = {tensor.name: tensor for tensor in view.graph.initializer}
    for node in view.graph.node:
        if _draws(node, view.made, tensors):
            yield node


def _draws(
    node: onnx.NodeProto,
    made: Mapping[str, onnx.NodeProto],
    tensors: Mapping[str, onnx.TensorProto],
) -> bool:
    if is_standard(node, RANDOM):
        return True
    if is_standard(node, ("Dropout",)) and len(node.input) > 2 and node.input[2]:
        ratio = constant_value(node.input[1], made, tensors) if node.input[1] else None
        training = constant_value(node.input[2], made, tensors)
        keeps_all = ratio is not None and not np.any(ratio)
        return not keeps_all and (training is None or bool(np.any(training)))
    bodies = [inner for body in subgraphs(node) for inner in body.node]
    return any(_draws(inner, made, tensors) for inner in bodies)


def _value_shaped_nodes(view: GraphView) -> Iterator[onnx.NodeProto]:
    """Nodes of which the values of the model's inputs decide how large their outputs are."""
    for node in view.graph.node:
        slots = SHAPE_SLOTS.get(node.op_type, ())
        deciding = [name for slot, name in enumerate(node.input) if slot in slots]
        selects = node.op_type in VALUE_SHAPED and bool(view.varying_inputs(node))
        if selects or any(name in view.varying for name in deciding):
            yield node
