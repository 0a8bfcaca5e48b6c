"""``inline_functions``: calls of a model's own functions, replaced by what the functions do.

ONNX Runtime inlines them too, and then only it knows what the tensors inside are called. Here they are
named after the call. It reads every function in the versions of the operators that the model imports,
whatever the function says, and so does this.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import NamedTuple

import onnx
from onnx import helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    copy_model,
    names_in_use,
    node_key,
    replace_nodes,
    stable_names,
    subgraphs,
)
from lsa_onnx.rewrite.names import Visible, rename_node

# Domain, name and overload.
Kind = tuple[str, str, str]
Functions = Mapping[Kind, onnx.FunctionProto]

# No exporter comes near. A few bytes can stand for any number of nodes.
MOST_NODES = 2_000_000
_DEEPEST_CALL = 64
# What a file can hold: the parsers of ONNX and of ONNX Runtime follow messages 100 levels deep.
_DEEPEST_BODY = 32
_STANDARD = ("", "ai.onnx")


def inline_functions(
    model: onnx.ModelProto, built_in: Container[tuple[str, str]] = frozenset()
) -> onnx.ModelProto:
    """A copy of ``model`` without calls of its functions; the model itself where it has no functions.

    A tensor or node ``t`` inside a function becomes ``call/t``, with the name of the node that calls it,
    or ``<operator>_<position>`` where it has none; calls inside of functions give ``outer/inner/t``. Where
    that name is taken, a number is added. Results have the names that the caller gives them.

    Args:
        model: It may have functions; it is not changed.
        built_in: Operators (domain, type) that the runtime has itself: it prefers those to functions of
            the same name, as it does with ONNX's own, so such calls stay.

    Raises:
        ModelError: A function calls itself, or the model would be too large without functions.
    """
    if not model.functions:
        return model
    functions = {
        _kind(function): function
        for function in model.functions
        if function.domain not in _STANDARD and (function.domain, function.name) not in built_in
    }
    _require_bounded(model.graph, functions)
    inlined = copy_model(model)
    _Inlining(functions, model).rewrite(inlined.graph)
    del inlined.functions[:]
    left = {_kind(function): function for function in model.functions}
    inlined.functions.extend(_called(inlined.graph.node, left).values())
    _import_domains(inlined, functions.values())
    return inlined


class _Inlining:
    """One pass over a model."""

    def __init__(self, functions: Functions, model: onnx.ModelProto) -> None:
        used = names_in_use(model.graph) | {value.name for value in model.graph.value_info}
        self._functions = functions
        # A node may have the name of a tensor; exporters like that.
        self._tensors, self._nodes = _Fresh(used), _Fresh(used)

    def rewrite(self, graph: onnx.GraphProto) -> None:
        """Replace the calls in ``graph`` (changed), and in the bodies inside it."""
        if not _called(graph.node, self._functions):
            return
        names = stable_names(graph)
        nodes = [part for node in graph.node for part in self._settled(node, names[node_key(node)])]
        replace_nodes(graph, nodes)

    def _settled(self, node: onnx.NodeProto, name: str) -> Iterator[onnx.NodeProto]:
        """What stands for ``node`` in the end; ``name`` is its stable name."""
        function = self._functions.get(_kind(node))
        if function is None:
            for body in subgraphs(node):
                self.rewrite(body)
            yield node
            return
        for part in self._written_out(node, name, function):
            yield from self._settled(part, part.name)

    def _written_out(
        self, call: onnx.NodeProto, name: str, function: onnx.FunctionProto
    ) -> list[onnx.NodeProto]:
        """The nodes of ``function`` in the names of ``call`` and with its attributes."""
        given = {a.name: a for a in (*function.attribute_proto, *call.attribute)}
        visible, copies = self._visible(call, name, function)
        names = stable_names(function)
        nodes: list[onnx.NodeProto] = []
        for node in function.node:
            nodes.append(onnx.NodeProto())
            nodes[-1].CopyFrom(node)
            rename_node(nodes[-1], visible, lambda inner: self._tensors.name(name, inner))
            # Afterwards: a graph that the call gives has the names of the caller.
            fill_references(nodes[-1], given)
            _add_metadata(nodes[-1], call)
            self._name_node(nodes[-1], name, names[node_key(node)])
        return [*nodes, *copies]

    def _visible(
        self, call: onnx.NodeProto, name: str, function: onnx.FunctionProto
    ) -> tuple[Visible, list[onnx.NodeProto]]:
        """Name in the function → name in the model; and nodes for what such names cannot express."""
        arguments = [*call.input, *[""] * len(function.input)]
        visible = {"": "", **dict(zip(function.input, arguments, strict=False))}
        repeated = []
        for formal, wanted in zip(function.output, call.output, strict=False):
            if wanted and formal not in visible:
                visible[formal] = wanted
            elif wanted:
                repeated.append((formal, wanted))
        for formal in (n for node in function.node for n in (*node.output, *node.input)):
            if formal not in visible:
                visible[formal] = self._tensors.name(name, formal)
        copies = [
            helper.make_node(
                "Identity", [visible[formal]], [wanted], self._nodes.name(name, formal)
            )
            for formal, wanted in repeated
        ]
        return ChainMap(visible), copies

    def _name_node(self, node: onnx.NodeProto, prefix: str, name: str) -> None:
        """Name ``node`` (changed), and those of its bodies, after the call."""
        node.name = self._nodes.name(prefix, name)
        for body in subgraphs(node):
            names = stable_names(body)
            for inner in body.node:
                self._name_node(inner, prefix, names[node_key(inner)])


class _Fresh:
    """New names, each given once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def name(self, prefix: str, inner: str) -> str:
        """``prefix/inner``, with a number where that is taken; what has no name gets none."""
        if not inner:
            return inner
        wanted = name = f"{prefix}/{inner}"
        while name in self._taken:
            self._counts[wanted] = self._counts.get(wanted, 0) + 1
            name = f"{wanted}_{self._counts[wanted]}"
        self._taken.add(name)
        return name


def fill_references(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> None:
    """Put values in place of references to a function's attributes, in ``node`` (changed) and its bodies.

    A reference to an attribute that is not given leaves the operator's default.
    """
    for index in reversed(range(len(node.attribute))):
        name, reference = node.attribute[index].name, node.attribute[index].ref_attr_name
        if reference and reference in given:
            node.attribute[index].CopyFrom(given[reference])
            node.attribute[index].name = name
        elif reference:
            del node.attribute[index]
    for graph in subgraphs(node):
        for inner in graph.node:
            fill_references(inner, given)


def _add_metadata(node: onnx.NodeProto, call: onnx.NodeProto) -> None:
    """Let ``node`` (changed) say what the call says, where it says nothing itself."""
    own = {entry.key for entry in node.metadata_props}
    node.metadata_props.extend(entry for entry in call.metadata_props if entry.key not in own)


def _kind(called: onnx.NodeProto | onnx.FunctionProto) -> Kind:
    name = called.op_type if isinstance(called, onnx.NodeProto) else called.name
    return called.domain, name, called.overload


def _called(
    nodes: Iterable[onnx.NodeProto], functions: Functions
) -> dict[Kind, onnx.FunctionProto]:
    """The functions that ``nodes`` call, directly, in their bodies or through other functions."""
    found: dict[Kind, onnx.FunctionProto] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        kind = _kind(node)
        if kind in functions and kind not in found:
            found[kind] = functions[kind]
            waiting.extend(functions[kind].node)
        waiting.extend(inner for body in subgraphs(node) for inner in body.node)
    return found


class Extent(NamedTuple):
    """How large a part of a model is once no function is left.

    ``calls`` and ``bodies`` are how many of them are inside each other, at most.
    """

    nodes: int
    calls: int
    bodies: int


def _require_bounded(graph: onnx.GraphProto, functions: Functions) -> None:
    extent = _Measure(functions).of(graph.node, ())
    if extent.nodes > MOST_NODES:
        raise ModelError(
            f"the model has {extent.nodes:,} nodes when its local functions are written out; at most {MOST_NODES:,} "
            "are accepted: export a smaller model"
        )
    if extent.bodies > _DEEPEST_BODY:
        raise ModelError(
            f"{extent.bodies} bodies of control flow are inside each other when local functions are written out; at "
            f"most {_DEEPEST_BODY} are accepted: export the model with fewer levels"
        )


class _Measure:
    """Finds the extent of nodes, each function measured once."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._known: dict[Kind, Extent] = {}

    def of(self, nodes: Iterable[onnx.NodeProto], within: tuple[Kind, ...]) -> Extent:
        """The extent of ``nodes``; ``within`` are the functions that led here."""
        count = calls = bodies = 0
        for node in nodes:
            kind = _kind(node)
            if kind in self._functions:
                parts = [self._of_call(kind, within)]
            else:
                inner = (self.of(body.node, within) for body in subgraphs(node))
                parts = [Extent(1, 0, 0), *(e._replace(bodies=e.bodies + 1) for e in inner)]
            count += sum(part.nodes for part in parts)
            calls = max(calls, *(part.calls for part in parts))
            bodies = max(bodies, *(part.bodies for part in parts))
        return Extent(count, calls, bodies)

    def _of_call(self, kind: Kind, within: tuple[Kind, ...]) -> Extent:
        called = "::".join(filter(None, kind))
        if kind in within:
            raise ModelError(
                f"the local function {called!r} calls itself; functions that end are accepted: export the "
                "model again"
            )
        if kind not in self._known and len(within) < _DEEPEST_CALL:
            inside = self.of(self._functions[kind].node, (*within, kind))
            self._known[kind] = inside._replace(calls=inside.calls + 1)
        if kind not in self._known or len(within) + self._known[kind].calls > _DEEPEST_CALL:
            raise ModelError(
                f"the call of {called!r} is nested in more than {_DEEPEST_CALL} calls of local functions, the most "
                "that is accepted: export the model with fewer levels"
            )
        return self._known[kind]


def _import_domains(model: onnx.ModelProto, functions: Iterable[onnx.FunctionProto]) -> None:
    """Let ``model`` (changed) hold what stood in ``functions``."""
    known = {_domain(imported.domain) for imported in model.opset_import}
    missing: dict[str, int] = {}
    for wanted in (imported for function in functions for imported in function.opset_import):
        domain = _domain(wanted.domain)
        if domain not in known:
            missing[domain] = max(missing.get(domain, 0), wanted.version)
    for domain, version in missing.items():
        model.opset_import.add(domain=domain, version=version)


def _domain(name: str) -> str:
    return "" if name in _STANDARD else name
