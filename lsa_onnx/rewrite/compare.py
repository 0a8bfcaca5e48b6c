"""``compare``: a clean | perturbed twin of the model that returns per-sample scalars instead of activations.

Every node that depends on the input is doubled; weights and constants are shared. The two copies of a node stand side
by side, and the reductions of a scored tensor right after them: with ONNX Runtime's priority-based order both
activations can then be freed at once, so scoring needs no more memory than inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    copy_model,
    dependents,
    node_inputs,
    opset,
    producers,
    replace_nodes,
    subgraphs,
    true_inputs,
    unused_suffix,
)

REORDER = ("com.microsoft.nchwc", "ReorderOutput")
# NCHWc blocks hold 8 or 16 channels; a multiple of 16 fills them without padding, so norms are those of the tensor.
_BLOCK_CHANNELS = 16


@dataclass(frozen=True)
class Scored:
    """A tensor to score.

    ``batch_axis`` is the axis that counts samples, ``None`` where the whole tensor belongs to one sample. Where several
    consecutive entries of axis 0 belong to a sample (heads merged into the batch, say), ``elements`` is the number of
    elements per sample. ``element`` is the ONNX element type; anything but float and double is cast to float before
    it is reduced.
    """

    tensor: str
    batch_axis: int | None = 0
    elements: int | None = None
    element: int = onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class SumNames:
    """Output names of the sums of squares of one tensor, each of shape (samples,).

    ``difference`` is ‖a − b‖², ``clean`` ‖a‖² and ``perturbed`` ‖b‖², with a the clean tensor and b the perturbed one.
    """

    difference: str
    clean: str
    perturbed: str


@dataclass(frozen=True)
class Comparison:
    """The twin. ``perturbed_inputs`` and ``perturbed_outputs`` map the model's names to those of the second branch."""

    model: onnx.ModelProto
    sums: dict[str, SumNames]
    perturbed_inputs: dict[str, str]
    perturbed_outputs: dict[str, str]


def compare(
    model: onnx.ModelProto,
    tensors: Sequence[Scored],
    outputs: Sequence[str],
    perturb: Sequence[str] | None = None,
) -> Comparison:
    """Build the twin of ``model`` that scores ``tensors``.

    Args:
        model: The model, optimised by ONNX Runtime or not; it is not changed. In an optimised one, a scored tensor
            behind a ``ReorderOutput`` is read before it, in its blocked layout (a norm does not care).
        tensors: What to score.
        outputs: The outputs of ``model`` that the twin also returns, for both branches.
        perturb: Inputs that have a perturbed version; all of them by default. Others feed both branches.

    Returns:
        The twin and the names of what it takes and returns.

    Raises:
        ModelError: A scored tensor does not exist in the main graph, or does not depend on a perturbed input.
    """
    graph = model.graph
    sources = [value.name for value in true_inputs(graph)] if perturb is None else list(perturb)
    varying = dependents(graph, sources)
    _require_varying(tensors, varying, producers(graph))
    suffix = unused_suffix(graph, "__perturbed")
    twin = copy_model(model)
    reads, dropped = _blocked_reads(graph, tensors, outputs)
    scored_after: dict[str, list[Scored]] = {}
    for item in tensors:
        scored_after.setdefault(reads[item.tensor], []).append(item)
    nodes: list[onnx.NodeProto] = []
    sums: dict[str, SumNames] = {}
    builder = _Reductions(opset(model), suffix)
    for node in graph.node:
        if node.output and node.output[0] in dropped:
            continue
        nodes.append(node)
        if not any(name in varying for name in node_inputs(node)):
            continue
        nodes.append(_perturbed_copy(node, varying, suffix))
        for name in node.output:
            for item in scored_after.get(name, ()):
                added, sums[item.tensor] = builder.sums(item, name)
                nodes.extend(added)
    replace_nodes(twin.graph, nodes)
    twin.graph.initializer.extend(builder.initializers.values())
    both = _set_signature(twin, sources, outputs, varying, suffix, sums.values())
    return Comparison(
        twin, sums, {name: name + suffix for name in sources}, {o: b for o, b in zip(outputs, both)}
    )


def _require_varying(
    tensors: Sequence[Scored], varying: set[str], made: Mapping[str, onnx.NodeProto]
) -> None:
    for item in tensors:
        if item.tensor not in made:
            raise ModelError(f"cannot score {item.tensor!r}: no node of the main graph makes it")
        if item.tensor not in varying:
            raise ModelError(
                f"cannot score {item.tensor!r}: it does not depend on the perturbed input"
            )


def _blocked_reads(
    graph: onnx.GraphProto, tensors: Sequence[Scored], outputs: Sequence[str]
) -> tuple[dict[str, str], set[str]]:
    """Where each scored tensor is read, and the reorderings that nobody needs then."""
    made = producers(graph)
    read_by_nodes = {name for node in graph.node for name in node_inputs(node)}
    reads = {item.tensor: item.tensor for item in tensors}
    dropped: set[str] = set()
    for item in tensors:
        node = made[item.tensor]
        if (node.domain, node.op_type) != REORDER or item.batch_axis != 0 or item.elements:
            continue
        channels = next((a.i for a in node.attribute if a.name == "channels"), 0)
        if channels % _BLOCK_CHANNELS:
            continue
        reads[item.tensor] = node.input[0]
        if item.tensor not in read_by_nodes and item.tensor not in outputs:
            dropped.add(item.tensor)
    return reads, dropped


def _perturbed_copy(node: onnx.NodeProto, varying: set[str], suffix: str) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    copied.name = node.name + suffix if node.name else ""
    for index, name in enumerate(node.input):
        if name in varying:
            copied.input[index] = name + suffix
    for index, name in enumerate(node.output):
        if name:
            copied.output[index] = name + suffix
    for inner in subgraphs(copied):
        _rename_outer_reads(inner, varying, suffix)
    return copied


def _rename_outer_reads(graph: onnx.GraphProto, varying: set[str], suffix: str) -> None:
    """Names inside a subgraph that come from outside and have a perturbed version read that version."""
    local = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    local |= {output for node in graph.node for output in node.output}
    outer = varying - local
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in outer:
                node.input[index] = name + suffix
        for inner in subgraphs(node):
            _rename_outer_reads(inner, outer, suffix)
    for value in graph.output:
        if value.name in outer:
            value.name += suffix


class _Reductions:
    """Makes the nodes that reduce a clean and a perturbed tensor to sums of squares, one per sample."""

    def __init__(self, version: int, suffix: str) -> None:
        self._version = version
        self._suffix = suffix
        self.initializers: dict[str, onnx.TensorProto] = {}

    def sums(self, item: Scored, name: str) -> tuple[list[onnx.NodeProto], SumNames]:
        """Nodes for ‖a − b‖², ‖a‖², ‖b‖² of the tensor ``name``, and the names of the three results."""
        prefix = f"{item.tensor}{self._suffix}_"
        nodes: list[onnx.NodeProto] = []
        clean, perturbed = (
            self._samples_first(item, source, f"{prefix}{part}", nodes)
            for part, source in (("a", name), ("b", name + self._suffix))
        )
        nodes.append(helper.make_node("Sub", [clean, perturbed], [f"{prefix}d"]))
        names = SumNames(f"{prefix}dd", f"{prefix}aa", f"{prefix}bb")
        for source, result in (
            (f"{prefix}d", names.difference),
            (clean, names.clean),
            (perturbed, names.perturbed),
        ):
            nodes.append(self._sum_of_squares(source, result))
        return nodes, names

    def _samples_first(
        self, item: Scored, source: str, prefix: str, nodes: list[onnx.NodeProto]
    ) -> str:
        """``source`` as a float matrix with one row per sample."""

        def add(op: str, inputs: list[str], step: str, **attributes: object) -> str:
            result = f"{prefix}_{step}"
            nodes.append(helper.make_node(op, inputs, [result], **attributes))
            return result

        current = source
        if item.element not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            current = add("Cast", [current], "float", to=onnx.TensorProto.FLOAT)
        if item.batch_axis is None:
            return add("Flatten", [current], "row", axis=0)
        if item.elements is not None:
            return add("Reshape", [current, self._constant([-1, item.elements])], "rows")
        if item.batch_axis > 0:
            axis = item.batch_axis
            flat = self._constant([0] * (axis + 1) + [-1])
            current = add("Reshape", [current, flat], "flat")
            order = [axis, *(a for a in range(axis + 2) if a != axis)]
            current = add("Transpose", [current], "first", perm=order)
        return add("Flatten", [current], "rows", axis=1)

    def _sum_of_squares(self, source: str, result: str) -> onnx.NodeProto:
        if self._version >= 18:
            axes = self._constant([1])
            return helper.make_node("ReduceSumSquare", [source, axes], [result], keepdims=0)
        return helper.make_node("ReduceSumSquare", [source], [result], axes=[1], keepdims=0)

    def _constant(self, values: list[int]) -> str:
        name = f"shape_{'_'.join(str(v) for v in values)}{self._suffix}"
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(values, np.int64), name)
        return name


def _set_signature(
    twin: onnx.ModelProto,
    sources: Iterable[str],
    outputs: Sequence[str],
    varying: set[str],
    suffix: str,
    sums: Iterable[SumNames],
) -> list[str]:
    """Declare the inputs and outputs of the twin; returns the name of each output's perturbed version."""
    graph = twin.graph
    declared = {value.name: value for value in graph.input}
    for name in sources:
        second = onnx.ValueInfoProto()
        second.CopyFrom(declared[name])
        second.name = name + suffix
        graph.input.append(second)
    both = [name + suffix if name in varying else name for name in outputs]
    results = [part for names in sums for part in (names.difference, names.clean, names.perturbed)]
    del graph.output[:]
    del graph.value_info[:]
    # An untyped output is legal for ONNX Runtime, which infers the type; a stale one would not be.
    graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys([*outputs, *both, *results])
    )
    return both
