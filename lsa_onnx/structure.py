"""Two ONNX messages side by side: what differs besides the values of weights, one line each.

Every field of the messages is compared, also those of later versions of ONNX; only what is matched by
name (nodes, attributes, tensors, inputs, functions) has code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import onnx
from google.protobuf import text_format
from google.protobuf.message import Message
from onnx import AttributeProto, TensorProto, helper

from lsa_onnx.model import describe, element_name
from lsa_onnx.report.text import shape
from lsa_onnx.rewrite.graph import is_standard

M = TypeVar("M")

DATA_FIELDS = (
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
)
_OF_A_TENSOR = frozenset({*DATA_FIELDS, "dims", "data_type", "data_location", "external_data"})
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class TensorPair:
    """A tensor that both models have, with the same element type and shape.

    ``scope`` says where it is: empty in the main graph, else such as " in then_branch of 'y'".
    """

    name: str
    scope: str
    old: onnx.TensorProto
    new: onnx.TensorProto


@dataclass
class Structure:
    """What a comparison found.

    ``lines`` on what differs, tensors to compare by value, and a line for each place where one of ``parts`` is
    read: an initializer that only the new model has → the tensor of the old one that it was split off.
    """

    parts: Mapping[str, onnx.TensorProto] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    pairs: list[TensorPair] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)


def compare_structure(
    old: onnx.ModelProto, new: onnx.ModelProto, parts: Mapping[str, onnx.TensorProto]
) -> Structure:
    """Compare everything of two models but the values of tensors, and metadata of the model and its nodes.

    To read one of ``parts``, from ``lsa_onnx.untied.find_untied``, is no difference.
    """
    split = [tensor for tensor in new.graph.initializer if tensor.name in parts]
    found = Structure(parts, pairs=[TensorPair(t.name, "", parts[t.name], t) for t in split])
    by_name = {"graph", "functions", "opset_import", "metadata_props"}
    _fields(found, old, new, "the model", by_name)
    _opsets(found, old.opset_import, new.opset_import, "the model")
    _graphs(found, old.graph, new.graph, "")
    for a, b in _matched(found, "function", old.functions, new.functions, function_key):
        _functions(found, a, b)
    return found


def first_output(node: onnx.NodeProto) -> str:
    """The name by which a node is known: that of its first output."""
    return next(filter(None, node.output), node.name)


def _functions(found: Structure, old: onnx.FunctionProto, new: onnx.FunctionProto) -> None:
    what = f"function {function_key(old)!r}"
    _fields(found, old, new, what, {"node", "opset_import"})
    _opsets(found, old.opset_import, new.opset_import, what)
    _nodes(found, old.node, new.node, f" in {what}")


def function_key(function: onnx.FunctionProto) -> str:
    """The name by which a function is known: with its domain, and its overload where it has one."""
    overload = f":{function.overload}" if function.overload else ""
    return f"{function.domain}::{function.name}{overload}"


def _opsets(found: Structure, old: Sequence[Any], new: Sequence[Any], what: str) -> None:
    before = {imported.domain or "ai.onnx": imported.version for imported in old}
    after = {imported.domain or "ai.onnx": imported.version for imported in new}
    for domain in sorted(before.keys() | after.keys()):
        a, b = before.get(domain, "none"), after.get(domain, "none")
        if a != b:
            found.lines.append(f"{what}: opset of {domain!r} is {b} instead of {a}")


def _graphs(found: Structure, old: onnx.GraphProto, new: onnx.GraphProto, scope: str) -> None:
    by_name = {"node", "input", "output", "value_info", "initializer", "sparse_initializer"}
    _fields(found, old, new, f"the graph{scope}", by_name)
    for kind in ("input", "output"):
        both = getattr(old, kind), _without_parts(found, getattr(new, kind), scope)
        for a, b in _matched(found, kind, *both, _name, scope):
            _values(found, a, b, f"{kind} {a.name!r}{scope}")
    if sorted(map(_content, old.value_info)) != sorted(map(_content, new.value_info)):
        found.lines.append(f"the types noted for inner tensors differ{scope}")
    _nodes(found, old.node, new.node, scope)
    tensors = old.initializer, _without_parts(found, new.initializer, scope)
    for a, b in _matched(found, "initializer", *tensors, _name, scope):
        _tensors(found, a.name, a, b, scope)
    sparse = (old.sparse_initializer, new.sparse_initializer)
    for a, b in _matched(found, "sparse initializer", *sparse, lambda s: s.values.name, scope):
        if _content(a) != _content(b):
            found.lines.append(f"sparse initializer {a.values.name!r}{scope} holds other values")


def _without_parts(found: Structure, new: Sequence[M], scope: str) -> Sequence[M]:
    """What ``new`` holds besides parts; those are in the main graph alone."""
    return new if scope else [each for each in new if _name(each) not in found.parts]


def _values(
    found: Structure, old: onnx.ValueInfoProto, new: onnx.ValueInfoProto, what: str
) -> None:
    if _content(old) == _content(new):
        return
    a, b = (f"{d.dtype} {shape(d.shape)}" for d in (describe(old), describe(new)))
    found.lines.append(f"{what} {_instead(a, b)}")


def _nodes(
    found: Structure,
    old: Sequence[onnx.NodeProto],
    new: Sequence[onnx.NodeProto],
    scope: str,
) -> None:
    for a, b in _matched(found, "node", old, new, first_output, scope):
        what = f"node {first_output(a)!r} ({a.op_type}){scope}"
        _inputs(found, a.input, b.input, what)
        _fields(found, a, b, what, {"attribute", "input", "metadata_props"})
        pairs = _matched(found, "attribute", a.attribute, b.attribute, _name, f" of {what}")
        for before, after in pairs:
            _attributes(found, a, before, after, scope)


def _inputs(found: Structure, old: Sequence[str], new: Sequence[str], what: str) -> None:
    before, after = list(old), list(new)
    for place, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b and b in found.parts:
            found.splits.append(f"{what} reads {b!r} instead of {a!r}")
            after[place] = a
    if before != after:
        found.lines.append(f"{what}: input {_instead(_shown(before), _shown(list(new)))}")


def _attributes(
    found: Structure,
    node: onnx.NodeProto,
    old: AttributeProto,
    new: AttributeProto,
    scope: str,
) -> None:
    before, after = constant_tensor(node, old), constant_tensor(node, new)
    inner = f" in {old.name} of {first_output(node)!r}{scope}"
    if old.type == new.type == AttributeProto.GRAPH:
        _graphs(found, old.g, new.g, inner)
    elif old.type == new.type == AttributeProto.GRAPHS and len(old.graphs) == len(new.graphs):
        for index, (a, b) in enumerate(zip(old.graphs, new.graphs, strict=True)):
            _graphs(found, a, b, f" in number {index}{inner}")
    elif old.type == new.type and before is not None and after is not None:
        _tensors(found, first_output(node), before, after, scope)
    elif _content(old) != _content(new):
        a, b = _attribute_text(old), _attribute_text(new)
        what = f"node {first_output(node)!r} ({node.op_type}){scope}"
        found.lines.append(f"{what}: {old.name} {_instead(a, b)}")


def _attribute_text(attribute: AttributeProto) -> str:
    if attribute.ref_attr_name:
        return f"that of the function's {attribute.ref_attr_name!r}"
    value = helper.get_attribute_value(attribute)
    # Of no type that this version of ONNX knows.
    return "unreadable" if value is None else _shown(value)


def constant_tensor(node: onnx.NodeProto, attribute: AttributeProto) -> TensorProto | None:
    """What a ``Constant`` node holds, as a tensor.

    ``None`` for other nodes, for text and sparse values, and for an argument of a function.
    """
    if not is_standard(node, {"Constant"}) or attribute.ref_attr_name:
        return None
    if attribute.name == "value" and attribute.type == AttributeProto.TENSOR:
        return attribute.t
    kinds = {"float": TensorProto.FLOAT, "int": TensorProto.INT64}
    kind = kinds.get(attribute.name.removeprefix("value_").removesuffix("s"))
    held = helper.get_attribute_value(attribute)
    if kind is None or held is None:
        return None
    several = attribute.name.endswith("s")
    numbers = list(held) if several else [held]
    return helper.make_tensor(first_output(node), kind, [len(numbers)] if several else [], numbers)


def _tensors(found: Structure, name: str, old: TensorProto, new: TensorProto, scope: str) -> None:
    what = f"tensor {name!r}{scope}"
    _fields(found, old, new, what, _OF_A_TENSOR)
    if (old.data_type, list(old.dims)) == (new.data_type, list(new.dims)):
        found.pairs.append(TensorPair(name, scope, old, new))
    else:
        a, b = (f"{element_name(t.data_type)} {shape(list(t.dims))}" for t in (old, new))
        found.lines.append(f"{what} {_instead(a, b)}")


def _matched(
    found: Structure,
    kind: str,
    old: Sequence[M],
    new: Sequence[M],
    key: Callable[[M], str],
    scope: str = "",
) -> Iterator[tuple[M, M]]:
    """What has the same key in both, in the old order; the rest becomes lines."""
    before, after = _by_key(old, key), _by_key(new, key)
    found.lines += [
        f"{kind} {name!r}{scope} is gone" for name, _ in before if (name, _) not in after
    ]
    found.lines += [
        f"{kind} {name!r}{scope} is new" for name, _ in after if (name, _) not in before
    ]
    common = [each for each in before if each in after]
    if common != [each for each in after if each in before]:
        found.lines.append(f"the order of the {kind}s differs{scope}")
    for each in common:
        yield before[each], after[each]


def _by_key(messages: Sequence[M], key: Callable[[M], str]) -> dict[tuple[str, int], M]:
    """(Key, how often it stood before) → message: broken models use a name twice."""
    keyed: dict[tuple[str, int], M] = {}
    seen: dict[str, int] = {}
    for message in messages:
        name = key(message)
        keyed[name, seen.get(name, 0)] = message
        seen[name] = seen.get(name, 0) + 1
    return keyed


def _name(message: Any) -> str:
    name: str = message.name
    return name


def _fields(
    found: Structure, old: Message, new: Message, what: str, skipped: Collection[str]
) -> None:
    for each in old.DESCRIPTOR.fields:
        if each.name in skipped:
            continue
        a, b = getattr(old, each.name), getattr(new, each.name)
        if _content(a) != _content(b):
            found.lines.append(f"{what}: {each.name} {_instead(_shown(a), _shown(b))}")


def _content(value: Any) -> Any:
    """Equal for equal content; NaN is equal to itself here."""
    if isinstance(value, Message):
        return value.SerializeToString(deterministic=True)
    if isinstance(value, float):
        return repr(value)
    return value if isinstance(value, str | bytes | int) else [_content(each) for each in value]


def _instead(old: str, new: str) -> str:
    """What cannot be told apart by its text is at least reported."""
    return f"is {new} instead of {old}" if old != new else "is written in another way"


def _shown(value: Any) -> str:
    """A value in a line: short, or "longer content" where it does not fit."""
    if isinstance(value, Message):
        small = value.ByteSize() <= _SHOWN_CHARACTERS
        text = f"{{{text_format.MessageToString(value, as_one_line=True)}}}" if small else ""
    elif isinstance(value, str | bytes | int | float):
        text = repr(value)
    else:
        text = f"[{', '.join(map(_shown, value))}]" if len(value) <= _SHOWN_CHARACTERS else ""
    return text if 0 < len(text) <= _SHOWN_CHARACTERS else "longer content"
