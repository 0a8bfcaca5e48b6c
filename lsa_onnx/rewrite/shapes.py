"""What is known about tensors before a model runs: element types, and which dimensions are fixed.

Shapes are inferred twice, with different numbers in place of every free dimension. A dimension that
comes out the same both times is fixed; one that differs follows the batch (or another free one).
Concrete numbers let ONNX's inference through reshapes and shape arithmetic at which symbolic ones
stop. They stop it where free dimensions of different names must agree, or one must be a certain
number; what lies behind is filled in by a third inference, with names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import onnx

from lsa_onnx.rewrite.element_types import fill_in_elements
from lsa_onnx.rewrite.graph import (
    copy_model,
    dimensions,
    forget_output_shapes,
    subgraphs,
    true_inputs,
)
from lsa_onnx.rewrite.loop_shapes import infer_through_loops
from lsa_onnx.rewrite.shape_arithmetic import fold_shape_arithmetic
from lsa_onnx.rewrite.stand_ins import with_stand_ins

Dims = tuple["int | None", ...]
Numbers = tuple[int, ...]
Named = Sequence["int | str | None"]
Hints = Mapping[str, Sequence["int | None"]]

_BATCH = "the batch"
# What stands for the batch in the two inferences. Other free dimensions get numbers of their own, so
# that two of them are never taken to be equal for having been given the same one: from the first on in
# steps of the second. They are larger than most kernels.
_BATCHES = (3, 5)
_OTHERS = ((107, 6), (211, 10))
# What stands for the number of steps of Loops.
_LENGTHS = (1009, 2003)
# Small enough to be a shape, axes or pads; inference reads nothing larger.
_READABLE_ELEMENTS = 64


class KnownShapes:
    """Element types and shapes by tensor name, bodies of control flow included.

    Names must be unique in the whole model (``lsa_onnx.rewrite.names.separate_names``).
    """

    def __init__(self, model: onnx.ModelProto, hints: Hints | None = None) -> None:
        """Infer.

        Args:
            model: The model, its weights inside or outside.
            hints: Input name → shape with ``None`` for the batch, where the model declares less.
        """
        self._elements: dict[str, int] = {}
        named = _with_names(with_stand_ins(model), hints or {})
        pairs = _numbered(named)
        first, second = (self._with_numbers(named, pairs, run) for run in range(2))
        self._numbers: dict[str, tuple[Numbers, Numbers]] = {
            name: (shape, second[name])
            for name, shape in first.items()
            if name in second and len(shape) == len(second[name])
        }
        if any(name not in self._numbers for name in _made(model.graph)):
            self._fill_in(self._inferred(named, _LENGTHS[0]), pairs)
            fill_in_elements(model, self._elements)

    @classmethod
    def types_alone(cls, model: onnx.ModelProto) -> KnownShapes:
        """Element types without shapes, at the price of one inference."""
        known = cls.__new__(cls)
        known._elements, known._numbers = {}, {}
        known._inferred(with_stand_ins(model), _LENGTHS[0])
        fill_in_elements(model, known._elements)
        return known

    def element(self, name: str) -> int | None:
        """The ONNX element type, ``None`` where it is not known."""
        return self._elements.get(name)

    def dims(self, name: str) -> Dims | None:
        """The shape, with ``None`` for what follows the batch; ``None`` where nothing is known."""
        if name not in self._numbers:
            return None
        first, second = self._numbers[name]
        return tuple(a if a == b else None for a, b in zip(first, second, strict=True))

    def rank(self, name: str) -> int | None:
        """The number of dimensions, ``None`` where it is not known."""
        return len(self._numbers[name][0]) if name in self._numbers else None

    def same_dim(self, a: str, axis_a: int, b: str, axis_b: int) -> bool:
        """Whether a dimension of ``a`` is known to equal one of ``b``, whatever the batch."""
        return all(
            x[axis_a] == y[axis_b] for x, y in zip(self._numbers[a], self._numbers[b], strict=True)
        )

    def same_shape(self, a: str, b: str) -> bool:
        """Whether both shapes are known to be equal, whatever the batch."""
        return a in self._numbers and self._numbers[a] == self._numbers.get(b)

    def alias(self, name: str, of: str) -> None:
        """``name`` has the type and shape of the tensor ``of``."""
        if of in self._elements:
            self._elements.setdefault(name, self._elements[of])
        if of in self._numbers:
            self._numbers.setdefault(name, self._numbers[of])

    def _with_numbers(
        self, named: onnx.ModelProto, pairs: Mapping[str, tuple[int, int]], run: int
    ) -> dict[str, Numbers]:
        """The shapes of one of the two inferences."""
        concrete = _with_numbers(named, pairs, run)
        found = _only_numbers(self._inferred(concrete, _LENGTHS[run]))
        if all(name in found for name in _made(concrete.graph)):
            return found
        folded = fold_shape_arithmetic(concrete)
        return {**found, **_only_numbers(self._inferred(folded, _LENGTHS[run]))}

    def _inferred(self, model: onnx.ModelProto, length: int) -> dict[str, Named]:
        """The shapes that ONNX finds, by name; element types are noted on the way."""
        try:
            shaped = infer_through_loops(model, length)
        except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
            shaped = model
        shapes: dict[str, Named] = {}
        for value in _values(shaped.graph):
            element, dims = value.type.tensor_type.elem_type, dimensions(value)
            if element:
                self._elements[value.name] = element
            if dims is not None:
                shapes[value.name] = dims
        for tensor in _constants(shaped.graph):
            self._elements[tensor.name] = tensor.data_type
            shapes[tensor.name] = tuple(tensor.dims)
        return shapes

    def _fill_in(self, shapes: Mapping[str, Named], pairs: dict[str, tuple[int, int]]) -> None:
        """Note ``shapes`` of tensors that have none yet; a name stands for a pair of numbers."""
        for name, dims in shapes.items():
            if name not in self._numbers:
                first, second = (
                    zip(*(_pair(d, pairs) for d in dims), strict=True) if dims else ((), ())
                )
                self._numbers[name] = (first, second)


def _pair(dim: int | str | None, pairs: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """What stands for a dimension; one without a name equals no other."""
    if isinstance(dim, int):
        return dim, dim
    # No dimension is negative.
    new = -2 * len(pairs) - 1, -2 * len(pairs) - 2
    return pairs.setdefault(dim or f"unnamed {len(pairs)}", new)


def _only_numbers(shapes: Mapping[str, Named]) -> dict[str, Numbers]:
    """Those that hold no name."""
    found = {name: tuple(d for d in dims if isinstance(d, int)) for name, dims in shapes.items()}
    return {name: numbers for name, numbers in found.items() if len(numbers) == len(shapes[name])}


def _with_names(model: onnx.ModelProto, hints: Hints) -> onnx.ModelProto:
    """A copy in which every free dimension of the inputs has a name, that of the batch ``_BATCH``."""
    named = copy_model(model)
    inputs = true_inputs(named.graph)
    for value in inputs:
        shape = value.type.tensor_type.shape
        if value.name in hints:
            del shape.dim[:]
            for size in hints[value.name]:
                shape.dim.add(**({"dim_param": _BATCH} if size is None else {"dim_value": size}))
        for axis, dim in enumerate(shape.dim):
            if not dim.HasField("dim_value") or dim.dim_value < 0:
                dim.dim_param = dim.dim_param or f"{value.name} {axis}"
    dims = [value.type.tensor_type.shape.dim for value in inputs]
    batches = {shape[0].dim_param for shape in dims if shape and shape[0].dim_param}
    for dim in itertools.chain.from_iterable(dims):
        if dim.dim_param in batches:
            dim.dim_param = _BATCH
    # Declared shapes of outputs and inner tensors may name the batch, or hold another one.
    forget_output_shapes(named)
    _forget_recorded(named.graph)
    _hand_down(named.graph, {})
    return named


def _numbered(named: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Name of a free dimension → what stands for it in the two inferences."""
    pairs = {_BATCH: _BATCHES}
    for value in true_inputs(named.graph):
        for dim in dimensions(value) or []:
            if isinstance(dim, str):
                index = len(pairs)
                one, two = (first + index * step for first, step in _OTHERS)
                pairs.setdefault(dim, (one, two))
    return pairs


def _with_numbers(
    named: onnx.ModelProto, pairs: Mapping[str, tuple[int, int]], run: int
) -> onnx.ModelProto:
    """A copy in which numbers stand for the free dimensions of the inputs."""
    concrete = copy_model(named)
    for value in true_inputs(concrete.graph):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = pairs[dim.dim_param][run]
    return concrete


def _made(graph: onnx.GraphProto) -> Iterator[str]:
    """The tensors that nodes make, those of bodies included."""
    for node in graph.node:
        yield from filter(None, node.output)
        for body in subgraphs(node):
            yield from _made(body)


def _forget_recorded(graph: onnx.GraphProto) -> None:
    """Drop what ``graph`` (changed) and its bodies record of shapes, but of its own ends.

    Of the ends of bodies, the dimensions go that may be those of a batch that was fixed and is free now.
    """
    del graph.value_info[:]
    for node in graph.node:
        for body in subgraphs(node):
            for value in (*body.input, *body.output):
                _forget_batch(value.type)
            _forget_recorded(body)


def _forget_batch(kind: onnx.TypeProto) -> None:
    """Drop the first dimension that a type (changed) gives, and those of 1; also of a sequence's elements."""
    held = kind.WhichOneof("value")
    if held in ("sequence_type", "optional_type"):
        _forget_batch(getattr(kind, held).elem_type)
        return
    for axis, dim in enumerate(kind.tensor_type.shape.dim):
        if axis == 0 or dim.dim_value == 1:
            dim.Clear()


def _hand_down(graph: onnx.GraphProto, outer: Mapping[str, onnx.TensorProto]) -> None:
    """Give bodies (changed) the small constants that they read of graphs around them.

    Inference sees the axes or the shape that a node of a body is given only if they are constants of
    that body.
    """
    read = {name for node in graph.node for name in node.input}
    graph.initializer.extend(outer[name] for name in sorted(read & outer.keys()))
    small = {t.name: t for t in graph.initializer if prod(t.dims) <= _READABLE_ELEMENTS}
    for node in graph.node:
        for body in subgraphs(node):
            _hand_down(body, {**outer, **small})


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.value_info
    yield from graph.output
    for node in graph.node:
        for body in subgraphs(node):
            yield from _values(body)


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for body in subgraphs(node):
            yield from _constants(body)
