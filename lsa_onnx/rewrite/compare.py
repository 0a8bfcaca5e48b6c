"""``compare``: a clean | perturbed twin of the model that returns scalars instead of activations.

Every node that depends on the values of the input is doubled; weights and constants are shared. The
two copies of a node stand side by side, and the reductions of a scored tensor right after them:
with ONNX Runtime's priority-based order both activations can then be freed at once, so scoring
needs no more memory than inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    add_initializer,
    copy_model,
    dependents,
    import_default_domain,
    local_names,
    node_inputs,
    opset,
    producers,
    replace_nodes,
    subgraphs,
    true_inputs,
    unused_suffix,
)
from lsa_onnx.rewrite.reductions import FUSED_DOMAIN, Reductions, Scored, SumNames

REORDER = ("com.microsoft.nchwc", "ReorderOutput")
# NCHWc blocks hold 8 or 16 channels; a multiple of 16 fills them without padding, so norms are those
# of the tensor.
_BLOCK_CHANNELS = 16
# What these return holds the same numbers in another order; with them the samples stay apart, as the
# number of elements per sample shows.
_REARRANGING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True)
class Comparison:
    """The twin.

    ``perturbed_inputs`` and ``perturbed_outputs`` map the model's names to those of the second
    branch (an output that does not depend on the perturbed inputs has one name for both).
    """

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
        model: The model, optimised by ONNX Runtime or not; it is not changed. In an optimised one, a
            scored tensor behind a ``ReorderOutput`` is read before it, in its blocked layout (a norm
            does not care).
        tensors: What to score, each tensor once.
        outputs: The outputs of ``model`` that the twin also returns, for both branches.
        perturb: Inputs that have a perturbed version; all of them by default. Others feed both
            branches.

    Returns:
        The twin and the names of what it takes and returns.

    Raises:
        ModelError: A scored tensor does not exist in the main graph, or does not depend on a
            perturbed input; or there is no input or output of a given name.
    """
    graph = model.graph
    inputs = [value.name for value in true_inputs(graph)]
    sources = inputs if perturb is None else list(dict.fromkeys(perturb))
    _require_known("input", sources, inputs)
    _require_known("output", outputs, [value.name for value in graph.output])
    varying = dependents(graph, sources, by_value=True)
    _require_varying(tensors, varying, producers(graph))
    suffix = unused_suffix(graph, "__perturbed")
    twin = copy_model(model)
    builder = Reductions(import_default_domain(twin), suffix)
    nodes, sums = _twin_nodes(graph, tensors, outputs, varying, builder)
    replace_nodes(twin.graph, nodes)
    for tensor in builder.initializers.values():
        add_initializer(twin, tensor)
    if not opset(twin, FUSED_DOMAIN):
        twin.opset_import.add(domain=FUSED_DOMAIN, version=1)
    both = {name: name + suffix if name in varying else name for name in outputs}
    _set_signature(twin, sources, both, suffix, sums.values())
    return Comparison(twin, sums, {name: name + suffix for name in sources}, both)


def _twin_nodes(
    graph: onnx.GraphProto,
    tensors: Sequence[Scored],
    outputs: Sequence[str],
    varying: set[str],
    builder: Reductions,
) -> tuple[list[onnx.NodeProto], dict[str, SumNames]]:
    """The nodes of the twin in order, and the names of the sums of each scored tensor."""
    reads, dropped = _blocked_reads(graph, tensors, outputs)
    same = _rearranged(graph, tensors)
    scored_after: dict[str, list[Scored]] = {}
    for item in tensors:
        if item.tensor not in same:
            scored_after.setdefault(reads[item.tensor], []).append(item)
    nodes: list[onnx.NodeProto] = []
    sums: dict[str, SumNames] = {}
    kept = [node for node in graph.node if not (node.output and node.output[0] in dropped)]
    for node in dead_ends_early(kept, outputs):
        nodes.append(node)
        if not any(name in varying for name in node.output):
            continue
        nodes.append(_perturbed_copy(node, varying, builder.suffix))
        for name in node.output:
            for item in scored_after.get(name, ()):
                added, sums[item.tensor] = builder.sums(item, name)
                nodes.extend(added)
    sums.update({name: sums[source] for name, source in same.items()})
    return nodes, sums


def _rearranged(graph: onnx.GraphProto, tensors: Sequence[Scored]) -> dict[str, str]:
    """Scored tensors that only rearrange another scored one → that one: their sums are the same."""
    elements = {item.tensor: item.elements for item in tensors if item.elements}
    same: dict[str, str] = {}
    for node in graph.node:
        if node.domain or node.op_type not in _REARRANGING or not node.input or not node.output:
            continue
        source, result = node.input[0], node.output[0]
        if result in elements and elements[result] == elements.get(source):
            same[result] = same.get(source, source)
    return same


def dead_ends_early(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]
) -> list[onnx.NodeProto]:
    """The nodes in an order that runs those no output depends on as soon as they can run.

    A tensor that a fusion went around is still made for its score; the optimiser puts its node last,
    and what it reads would stay alive until then. Linear in nodes.
    """
    wanted = set(outputs)
    for node in reversed(nodes):
        if any(name in wanted for name in node.output):
            wanted.update(node_inputs(node))
    made_at: dict[str, int] = {}
    keys: list[tuple[int, int]] = []
    for index, node in enumerate(nodes):
        at = index
        if not any(name in wanted for name in node.output):
            at = max((made_at.get(name, -1) for name in node_inputs(node)), default=index)
        made_at.update(dict.fromkeys(node.output, at))
        keys.append((at, index))
    return [nodes[index] for _, index in sorted(keys)]


def _require_known(kind: str, wanted: Iterable[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise ModelError(
                f"the model has no {kind} {name!r}; its {kind}s are {', '.join(map(repr, known))}"
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
        if (node.domain, node.op_type) != REORDER or item.batch_axis:
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


def _rename_outer_reads(
    graph: onnx.GraphProto, varying: set[str], suffix: str, hidden: tuple[set[str], ...] = ()
) -> None:
    """Names inside a subgraph that come from outside and have a perturbed version read that version.

    ``hidden`` has the names that the graphs around it, up to the node's own, define anew.
    """
    here = (*hidden, local_names(graph))

    def is_outer(name: str) -> bool:
        return name in varying and not any(name in names for names in here)

    for node in graph.node:
        for index, name in enumerate(node.input):
            if is_outer(name):
                node.input[index] = name + suffix
        for inner in subgraphs(node):
            _rename_outer_reads(inner, varying, suffix, here)
    for value in graph.output:
        if is_outer(value.name):
            value.name += suffix


def _set_signature(
    twin: onnx.ModelProto,
    sources: Iterable[str],
    outputs: Mapping[str, str],
    suffix: str,
    sums: Iterable[SumNames],
) -> None:
    """Declare the inputs and outputs of the twin; ``outputs`` maps clean names to perturbed ones."""
    graph = twin.graph
    declared = {value.name: value for value in graph.input}
    for name in sources:
        second = onnx.ValueInfoProto()
        second.CopyFrom(declared[name])
        second.name = name + suffix
        graph.input.append(second)
    results = [part for names in sums for part in (names.difference, names.clean, names.perturbed)]
    del graph.output[:]
    del graph.value_info[:]
    # An untyped output is legal for ONNX Runtime, which infers the type; a stale one would not be.
    graph.output.extend(
        onnx.ValueInfoProto(name=name)
        for name in dict.fromkeys([*outputs, *outputs.values(), *results])
    )
