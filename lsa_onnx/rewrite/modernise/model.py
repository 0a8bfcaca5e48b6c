"""``modernise`` itself: a walk over the graph and its bodies that raises node by node."""

from __future__ import annotations

from functools import cache

import onnx

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.graph import (
    DEFAULT_DOMAIN,
    copy_model,
    initializer_names,
    opset,
    replace_nodes,
    subgraphs,
    unused_suffix,
)
from lsa_onnx.rewrite.inline import inline_functions
from lsa_onnx.rewrite.modernise.builder import Builder, Pool, Unraisable, read_names
from lsa_onnx.rewrite.modernise.constants import hoist
from lsa_onnx.rewrite.modernise.scope import Scope, scope_of
from lsa_onnx.rewrite.modernise.table import CONVERTERS, RUNTIME_ONLY

TARGET = 18
# What opset 7 replaced (broadcasting by attribute, `is_test`) has no kernels in ONNX Runtime.
_OLDEST = 7
# The first IR version for opset 18.
_IR_VERSION = 8
_DOMAIN_NAMES = (DEFAULT_DOMAIN, "ai.onnx")


def modernise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` in the dialect of opset 18 that computes the same outputs.

    Models of opset 18 and newer keep their opset. In the copy, at any depth of bodies:

    - every operator of ONNX has the form of that opset;
    - ``Constant`` nodes are initializers of their graph (strings and sparse values stay nodes);
    - initializers are not listed as inputs, local functions are inlined, ``value_info`` is gone.

    Inputs and outputs keep their names and types; weights outside the proto are not read. Operators
    of other domains stay as they are. "The same" means as ONNX Runtime computes it, also where ONNX
    leaves that open. Linear in nodes.

    Args:
        model: Any ONNX model; it is not changed.

    Raises:
        ModelError: Some nodes have no form in opset 18; all of them are named.
    """
    source = inline_functions(model)
    version = opset(source) or TARGET
    raised = copy_model(source)
    walk = _Walk(source, version)
    walk.raise_graph(raised.graph, scope_of(source))
    walk.require_success()
    raised.graph.initializer.extend(walk.pool.tensors)
    _drop_listed_initializers(raised.graph)
    raised.ir_version = max(raised.ir_version, _IR_VERSION)
    _import_default_domain(raised, max(version, TARGET))
    return raised


class _Walk:
    """What the nodes of all graphs share: constants made for them, and those that cannot be raised."""

    def __init__(self, model: onnx.ModelProto, version: int) -> None:
        self.pool = Pool(unused_suffix(model.graph, "__modern"))
        self._version = version
        self._read = read_names(model.graph)
        self._failures: list[str] = []

    def raise_graph(self, graph: onnx.GraphProto, scope: Scope) -> None:
        """Raise every node of ``graph`` (changed) and of the bodies inside it."""
        nodes: list[onnx.NodeProto] = []
        for index, node in enumerate(graph.node):
            for which, body in enumerate(subgraphs(node)):
                self.raise_graph(body, scope.inside(index, which))
            if node.domain not in _DOMAIN_NAMES:
                nodes.append(node)
                continue
            node.domain = DEFAULT_DOMAIN
            if node.op_type == "Constant":
                nodes += hoist(node, graph, self.pool.suffix)
            else:
                nodes += self._raised(node, scope)
        replace_nodes(graph, nodes)
        del graph.value_info[:]

    def _raised(self, node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto]:
        """The nodes that stand for ``node`` (which may be changed) in the new dialect."""
        if self._version >= TARGET:
            return [node]
        builder = Builder(node, self.pool, scope, self._read)
        steps = CONVERTERS.get(node.op_type, ())
        converter = next((c for until, c in steps if self._version < until), None)
        try:
            _require_form(node.op_type, self._version, convertible=converter is not None)
            if converter is None:
                return [node]
            converter(node, builder)
        except Unraisable as reason:
            self._failures.append(f"{node.op_type} {node.name or node.output[0]!r}: {reason}")
        return builder.nodes

    def require_success(self) -> None:
        """Raise ModelError if a node was not raised."""
        if not self._failures:
            return
        count = len(self._failures)
        raise ModelError(
            f"cannot raise {count} node{'s'[: count - 1]} of opset {self._version} to opset {TARGET}: "
            f"{'; '.join(self._failures)}; export the model again with opset {TARGET} or newer"
        )


@cache
def _since(op: str, version: int) -> int | None:
    """The opset that gave ``op`` the form it has in opset ``version``; ``None`` if it has none there."""
    try:
        schema = onnx.defs.get_schema(op, version, DEFAULT_DOMAIN)
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else int(schema.since_version)


def _require_form(op: str, version: int, *, convertible: bool) -> None:
    """Raise Unraisable for an operator that opset ``version`` lacks, or has in a form older than opset 7."""
    since = _since(op, version)
    if since is None:
        if not convertible and op not in RUNTIME_ONLY:
            raise Unraisable(f"it is not an operator of opset {version}")
    elif version < _OLDEST and since != _since(op, _OLDEST):
        raise Unraisable(f"opset {_OLDEST} replaced the form that opset {version} has")


def _drop_listed_initializers(graph: onnx.GraphProto) -> None:
    constants = initializer_names(graph)
    for index in reversed(range(len(graph.input))):
        if graph.input[index].name in constants:
            del graph.input[index]


def _import_default_domain(owner: onnx.ModelProto, version: int) -> None:
    """Let ``owner`` (changed) import ONNX's operators once, in ``version``."""
    others = [(o.domain, o.version) for o in owner.opset_import if o.domain not in _DOMAIN_NAMES]
    del owner.opset_import[:]
    for domain, number in ((DEFAULT_DOMAIN, version), *others):
        owner.opset_import.add(domain=domain, version=number)
