"""``expand``: composite operators replaced by primitives, until nothing is left to replace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import onnx
from onnx import helper, numpy_helper

from lsa_onnx.rewrite.expand.bodies import own_body, standard_body
from lsa_onnx.rewrite.expand.builder import Builder, Expansion, NotExpandable, Supplies
from lsa_onnx.rewrite.expand.renaming import renamed
from lsa_onnx.rewrite.expand.scope import Scope, is_type
from lsa_onnx.rewrite.expand.table import EXPANSIONS
from lsa_onnx.rewrite.graph import (
    constant_node_value,
    copy_model,
    is_standard,
    names_in_use,
    opset,
    replace_nodes,
    subgraphs,
    unused_suffix,
)

Keep = Callable[[onnx.NodeProto], bool]
Kind = tuple[str, str, str]


def expand(model: onnx.ModelProto, keep: Keep) -> onnx.ModelProto:
    """A copy of ``model`` in which composite operators are written out in simpler ones.

    A node that ``keep`` turns down is replaced, and so are the nodes that replace it, until ``keep``
    accepts what is left or nothing is known that could stand for it: such nodes stay, for the caller
    to report. Bodies of control flow are included. Tensors that the model had keep their names.

    Args:
        model: A model at opset 18 or later; it is not changed. Its weights may be outside.
        keep: Whether a node is to stay as it is.

    Returns:
        The model written out. Values are equal up to rounding; a quantised value may differ by one
        step where rounding decides.
    """
    expanded = copy_model(model)
    scope = Scope.of(expanded)
    supplies = Supplies(unused_suffix(expanded.graph, "__expand"), opset(expanded), scope)
    functions = {(f.domain, f.name, f.overload): f for f in expanded.functions}
    _Walk(keep, supplies, functions).rewrite(expanded.graph, scope)
    _import_domains(expanded)
    used = names_in_use(expanded.graph)
    expanded.graph.initializer.extend(t for t in supplies.constants if t.name in used)
    return expanded


def _import_domains(model: onnx.ModelProto) -> None:
    """Let ``model`` (changed) hold what stood in its functions."""
    known = {"", "ai.onnx"} | {o.domain for o in model.opset_import}
    for wanted in (o for function in model.functions for o in function.opset_import):
        if wanted.domain not in known:
            known.add(wanted.domain)
            model.opset_import.add().CopyFrom(wanted)


class _Walk:
    """One pass over a model in the order of its nodes, so that types are known before they are asked for."""

    def __init__(
        self, keep: Keep, supplies: Supplies, functions: dict[Kind, onnx.FunctionProto]
    ) -> None:
        self._keep = keep
        self._supplies = supplies
        self._functions = functions

    def rewrite(self, graph: onnx.GraphProto, scope: Scope) -> None:
        """Replace the nodes of ``graph`` (changed)."""
        results = {value.name for value in graph.output}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            tensor = self._hoisted(node)
            if tensor is None or tensor.name in results:
                nodes += self._settled(node, scope, ())
            else:
                graph.initializer.append(tensor)
                scope.hold(tensor)
        replace_nodes(graph, nodes)
        for value in graph.output:
            found = scope.type(value.name)
            if found is not None and not is_type(value.type):
                value.type.CopyFrom(found)

    def _hoisted(self, node: onnx.NodeProto) -> onnx.TensorProto | None:
        """The initializer that stands for a ``Constant`` node; bodies of functions hold such."""
        if not is_standard(node, ("Constant",)) or self._keep(node):
            return None
        value = constant_node_value(node)
        return None if value is None else numpy_helper.from_array(value, node.output[0])

    def _settled(
        self, node: onnx.NodeProto, scope: Scope, within: tuple[Kind, ...]
    ) -> Iterator[onnx.NodeProto]:
        """The nodes that stand for ``node`` in the end.

        ``within`` are the operators whose expansions led here: none is expanded inside itself.
        """
        kind = (node.domain, node.op_type, node.overload)
        parts = None if kind in within or self._keep(node) else self._parts(node, scope)
        if parts is None:
            for body in subgraphs(node):
                self.rewrite(body, scope.body(body, node))
            scope.record(node)
            yield node
            return
        for part in parts:
            yield from self._settled(part, scope, (*within, kind))

    def _parts(self, node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
        """One step of expansion, ``None`` where nothing is known that could stand for ``node``."""
        for expansion in self._expansions(node):
            b = Builder(node, scope, self._supplies)
            try:
                results = expansion(b)
            except NotExpandable:
                continue
            names = [results] if isinstance(results, str) else list(results)
            wanted = [index for index in range(len(node.output)) if b.wants(index)]
            if all(index < len(names) and names[index] for index in wanted):
                return list(_with_results(b.nodes, names, node.output))
        return None

    def _expansions(self, node: onnx.NodeProto) -> Iterator[Expansion]:
        """What may stand for ``node``, best first."""
        function = self._functions.get((node.domain, node.op_type, node.overload))
        if function is not None:
            yield partial(own_body, function=function)
            return
        domain = "" if node.domain == "ai.onnx" else node.domain
        if (domain, node.op_type) in EXPANSIONS:
            yield EXPANSIONS[domain, node.op_type]
        yield standard_body


def _with_results(
    nodes: Iterable[onnx.NodeProto], results: list[str], wanted: Iterable[str]
) -> Iterator[onnx.NodeProto]:
    """The nodes, with the results under the names that the replaced node gave them."""
    pairs = [(name, want) for name, want in zip(results, wanted, strict=False) if want]
    made = {name for node in nodes for name in node.output}
    names: dict[str, str] = {}
    copies = []
    for name, want in pairs:
        if name in made and name not in names:
            names[name] = want
        else:
            copies.append((name, want))
    for node in nodes:
        yield renamed(node, names)
    for name, want in copies:
        yield helper.make_node("Identity", [names.get(name, name)], [want], want)
