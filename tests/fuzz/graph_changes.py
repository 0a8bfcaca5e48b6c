"""Damage that knows what a graph is: wires, operators, names, types, shapes, bodies, functions."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper

from tests.fuzz import values
from tests.fuzz.messages import parts

OPERATORS = (
    "Abs", "Add", "ArgMax", "Attention", "AveragePool", "BatchNormalization", "Bernoulli", "Cast",
    "CastLike", "Clip", "Compress", "Concat", "ConcatFromSequence", "Constant", "ConstantOfShape",
    "Conv", "ConvInteger", "ConvTranspose", "CumSum", "DepthToSpace", "DequantizeLinear", "Det",
    "Div", "Dropout", "DynamicQuantizeLinear", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand",
    "EyeLike", "Flatten", "GRU", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "Greater", "GridSample", "GroupNormalization",
    "HardSigmoid", "Hardmax", "Identity", "If", "InstanceNormalization", "IsNaN", "LRN", "LSTM",
    "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "Loop", "LpNormalization", "LpPool",
    "MatMul", "MatMulInteger", "Max", "MaxPool", "MaxRoiPool", "MaxUnpool", "Mean", "Min", "Mod",
    "Mul", "Multinomial", "Neg", "NonMaxSuppression", "NonZero", "Not", "OneHot", "Optional",
    "OptionalGetElement", "PRelu", "Pad", "Pow", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
    "RNN", "RandomNormal", "RandomUniformLike", "Range", "Reciprocal", "ReduceL2",
    "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum", "Relu", "Reshape",
    "Resize", "ReverseSequence", "RoiAlign", "Round", "Scan", "ScatterElements", "ScatterND",
    "SequenceAt", "SequenceConstruct", "SequenceMap", "Shape", "Shrink", "Sigmoid", "Sign", "Size",
    "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "SplitToSequence", "Sqrt", "Squeeze",
    "StringNormalizer", "Sub", "Sum", "TfIdfVectorizer", "ThresholdedRelu", "Tile", "TopK",
    "Transpose", "Trilu", "Unique", "Unsqueeze", "Upsample", "Where", "Xor", "NoSuchOperator",
    "Cut", "Dense", "",
)  # fmt: skip
_ATTRIBUTES = (
    "axis", "axes", "kernel_shape", "strides", "pads", "dilations", "group", "perm", "to", "alpha",
    "epsilon", "keepdims", "mode", "hidden_size", "direction", "value", "value_string", "body",
    "then_branch", "num_scan_inputs", "equation", "auto_pad", "output_shape", "transB", "allowzero",
    "num_outputs", "training_mode", "block_size", "blocksize", "to",
)  # fmt: skip
_DOMAINS = (
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "com.microsoft",
    "own",
    "no.such",
    "\x1b[31m",
)
_MOST_CHAINED = 300
_MOST_NESTED = 40

Change = Callable[[Random, onnx.ModelProto], None]


def nodes(model: onnx.ModelProto) -> list[NodeProto]:
    """Every node, also of bodies and functions."""
    return [each for each in parts(model) if isinstance(each, NodeProto)]


def _node(rng: Random, model: onnx.ModelProto) -> NodeProto:
    every = nodes(model)
    return rng.choice(every) if every else model.graph.node.add()


def _name(rng: Random, model: onnx.ModelProto) -> str:
    """One in use, or any text."""
    used = [name for node in nodes(model) for name in (*node.input, *node.output)]
    return rng.choice(used) if used and rng.random() < 0.85 else values.text(rng)


def rewire(rng: Random, model: onnx.ModelProto) -> None:
    """Another tensor as an input or output: missing, of later on (a cycle), made twice."""
    node = _node(rng, model)
    ends = node.input if rng.random() < 0.7 else node.output
    if not ends or rng.random() < 0.1:
        ends.append(_name(rng, model))
    elif rng.random() < 0.2:
        del ends[rng.randrange(len(ends))]
    else:
        ends[rng.randrange(len(ends))] = _name(rng, model)


def change_operator(rng: Random, model: onnx.ModelProto) -> None:
    """Another operator in a place, attributes and inputs kept."""
    node = _node(rng, model)
    node.op_type = rng.choice(OPERATORS)
    if rng.random() < 0.2:
        node.domain = rng.choice(_DOMAINS)


def add_node(rng: Random, model: onnx.ModelProto) -> None:
    """One more node, anywhere in the order, read by another."""
    reader, made = _node(rng, model), values.text(rng) or "made"
    inputs = [_name(rng, model) for _ in range(rng.randint(0, 3))]
    node = helper.make_node(rng.choice(OPERATORS), inputs, [made])
    model.graph.node.insert(rng.randint(0, len(model.graph.node)), node)
    if reader.input:
        reader.input[rng.randrange(len(reader.input))] = made


def change_attribute(rng: Random, model: onnx.ModelProto) -> None:
    """Another value for an attribute, or one more, of the right type or not."""
    node = _node(rng, model)
    held = [
        a for a in node.attribute if a.type not in (AttributeProto.GRAPH, AttributeProto.TENSOR)
    ]
    if held and rng.random() < 0.7:
        attribute = rng.choice(held)
        name = attribute.name
        node.attribute.remove(attribute)
    else:
        name = rng.choice(_ATTRIBUTES)
    node.attribute.append(helper.make_attribute(name, _attribute_value(rng)))


def _attribute_value(rng: Random) -> Any:
    choice = rng.randrange(6)
    if choice == 0:
        return values.integer(rng)
    if choice == 1:
        return values.number(rng)
    if choice == 2:
        return values.text(rng)
    if choice == 3:
        return [values.number(rng) for _ in range(rng.randint(1, 4))]
    if choice == 4:
        return [rng.randint(-2, 4) for _ in range(rng.randint(1, 6))]
    return [values.integer(rng) for _ in range(rng.randint(1, 6))]


def rename(rng: Random, model: onnx.ModelProto) -> None:
    """A tensor gets another name wherever it is read or made, or a node one."""
    old, new = _name(rng, model), values.text(rng)
    if rng.random() < 0.3:
        _node(rng, model).name = new
        return
    graph = model.graph
    for held in (graph.input, graph.output, graph.initializer, graph.value_info):
        for each in held:
            each.name = new if each.name == old else each.name
    for node in nodes(model):
        for ends in (node.input, node.output):
            ends[:] = [new if name == old else name for name in ends]


def change_type(rng: Random, model: onnx.ModelProto) -> None:
    """Another element type, shape or kind for a declared value or a constant."""
    held = [each for each in parts(model) if isinstance(each, (onnx.ValueInfoProto, TensorProto))]
    each = rng.choice(held) if held else model.graph.input.add()
    element = rng.choice([*TensorProto.DataType.values(), 99, -1])
    if isinstance(each, TensorProto):
        each.data_type = element
    elif rng.random() < 0.2:
        tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 3])
        wrap = rng.choice((helper.make_sequence_type_proto, helper.make_optional_type_proto))
        each.type.CopyFrom(wrap(tensor))
    else:
        each.type.tensor_type.elem_type = element


def change_shape(rng: Random, model: onnx.ModelProto) -> None:
    """Another size, or more or fewer of them, for a declared value or a constant."""
    held = [each for each in parts(model) if isinstance(each, (onnx.ValueInfoProto, TensorProto))]
    each = rng.choice(held) if held else model.graph.initializer.add()
    if isinstance(each, TensorProto):
        dims = list(each.dims)
        dims.insert(rng.randint(0, len(dims)), values.integer(rng))
        each.dims[:] = dims if rng.random() < 0.3 else dims[: len(each.dims)]
        return
    shape = each.type.tensor_type.shape
    dim = rng.choice(shape.dim) if shape.dim and rng.random() < 0.7 else shape.dim.add()
    if rng.random() < 0.5:
        dim.dim_value = values.integer(rng)
    else:
        dim.dim_param = rng.choice(("N", "M", values.text(rng)))


def change_values(rng: Random, model: onnx.ModelProto) -> None:
    """Other contents of a constant: odd numbers, too few, too many, in two fields."""
    held = [each for each in parts(model) if isinstance(each, TensorProto)]
    tensor = rng.choice(held) if held else model.graph.initializer.add()
    content = bytearray(tensor.raw_data)
    choice = rng.randrange(5)
    if choice == 0:
        tensor.raw_data = bytes(content[: rng.randint(0, len(content))])
    elif choice == 1:
        tensor.raw_data = bytes(content) + values.raw(rng)
    elif choice == 2:
        tensor.float_data.append(values.number(rng))
    else:
        size = 8 if tensor.data_type in (TensorProto.INT64, TensorProto.DOUBLE) else 4
        start = size * rng.randrange(max(len(content) // size, 1))
        odd = values.integer(rng) % (1 << 8 * size)
        content[start : start + size] = odd.to_bytes(size, "little")
        tensor.raw_data = bytes(content)


def change_versions(rng: Random, model: onnx.ModelProto) -> None:
    """Other versions of the format and of operators, known domains or not, twice or never."""
    choice = rng.random()
    if choice < 0.3:
        model.ir_version = rng.choice((rng.randint(0, 15), values.integer(rng)))
    elif choice < 0.4 or not model.opset_import:
        model.opset_import.add(domain=rng.choice(_DOMAINS), version=rng.randint(1, 30))
    elif choice < 0.9:
        version = rng.choice((rng.randint(-1, 30), values.integer(rng)))
        rng.choice(model.opset_import).version = version
    else:
        del model.opset_import[:]


def recurse(rng: Random, model: onnx.ModelProto) -> None:
    """A function that calls itself, or one of a name that is taken."""
    if not model.functions:
        node = _node(rng, model)
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        body = [
            helper.make_node(node.op_type, ["a"], ["b"]),
            helper.make_node("F", ["b"], ["o"], domain="own"),
        ]
        model.functions.append(helper.make_function("own", "F", ["a"], ["o"], body, imports))
        model.opset_import.add(domain="own", version=1)
        node.op_type, node.domain = "F", "own"
        return
    function = rng.choice(model.functions)
    if rng.random() < 0.3:
        model.functions.append(function)
        return
    call = rng.choice(function.node) if function.node else function.node.add()
    call.op_type, call.domain = function.name, function.domain


def nest(rng: Random, model: onnx.ModelProto) -> None:
    """A node deep inside branches."""
    graph = model.graph
    place = rng.randrange(len(graph.node)) if graph.node else 0
    for level in range(rng.choice((1, 2, 5, _MOST_NESTED))):
        if not graph.node:
            return
        inner = NodeProto()
        inner.CopyFrom(graph.node[place])
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inner.output
        ]
        body = helper.make_graph([inner], f"level{level}", [], ends)
        name = rng.choice(("then_branch", "else_branch", "body"))
        condition = [_name(rng, model)]
        outer = helper.make_node(rng.choice(("If", "If", "Loop")), condition, list(inner.output))
        for each in ("then_branch", "else_branch") if name != "body" else ("body",):
            outer.attribute.append(helper.make_attribute(each, body))
        graph.node[place].CopyFrom(outer)
        if outer.ByteSize() > 1 << 18:
            return


def lengthen(rng: Random, model: onnx.ModelProto) -> None:
    """A long chain before one of the outputs."""
    if not model.graph.output:
        return
    output = rng.choice(model.graph.output)
    current, op = output.name, rng.choice(("Identity", "Relu", "Neg", "Dropout"))
    count = rng.choice((3, 30, _MOST_CHAINED))
    for index in range(count):
        model.graph.node.append(helper.make_node(op, [current], [f"chained{index}"]))
        current = f"chained{index}"
    output.name = current


def expose_ends(rng: Random, model: onnx.ModelProto) -> None:
    """An output that is an input, a constant or nothing; none; an input that is a constant."""
    graph = model.graph
    choice = rng.random()
    if choice < 0.5:
        graph.output.add().name = _name(rng, model)
    elif choice < 0.6:
        del graph.output[:]
    elif choice < 0.7:
        del graph.input[:]
    elif choice < 0.85 and graph.input and graph.initializer:
        graph.input[0].name = graph.initializer[0].name
    else:
        graph.input.add().name = _name(rng, model)


CHANGES: tuple[Change, ...] = (
    rewire, change_operator, add_node, change_attribute, rename, change_type, change_shape, change_values,
    change_versions, recurse, nest, lengthen, expose_ends,
)  # fmt: skip
