"""What is known about tensors before a model runs: element types, and which dimensions are fixed.

Shapes are inferred twice, with different numbers in place of every free dimension. A dimension that
comes out the same both times is fixed; one that differs follows the batch (or another free one).
Concrete numbers let ONNX's inference through reshapes and shape arithmetic at which symbolic ones
stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

from lsa_onnx.rewrite.graph import copy_model, dimensions, subgraphs, true_inputs
from lsa_onnx.rewrite.loop_shapes import infer_through_loops

Dims = tuple["int | None", ...]
Numbers = tuple[int, ...]

# What stands for the batch in the two inferences; other free dimensions get numbers of their own, so
# that two of them are never taken to be equal for having been given the same one.
_BATCHES = (3, 5)
_OTHERS = ((7, 13, 19, 29, 37), (11, 17, 23, 31, 41))
# The same for the number of steps of Loops.
_LENGTHS = (1009, 2003)


class KnownShapes:
    """Element types and shapes by tensor name, bodies of control flow included.

    Names must be unique in the whole model (``lsa_onnx.rewrite.names.separate_names``).
    """

    def __init__(
        self, model: onnx.ModelProto, hints: Mapping[str, Sequence[int | None]] | None = None
    ) -> None:
        """Infer.

        Args:
            model: The model, its weights inside or outside.
            hints: Input name → shape with ``None`` for the batch, where the model declares less.
        """
        self._elements: dict[str, int] = {}
        first, second = (self._inferred(model, hints or {}, run) for run in range(2))
        self._numbers: dict[str, tuple[Numbers, Numbers]] = {
            name: (shape, second[name])
            for name, shape in first.items()
            if name in second and len(shape) == len(second[name])
        }

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

    def _inferred(
        self, model: onnx.ModelProto, hints: Mapping[str, Sequence[int | None]], run: int
    ) -> dict[str, Numbers]:
        concrete = _with_numbers(model, hints, run)
        try:
            shaped = infer_through_loops(concrete, _LENGTHS[run])
        except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
            shaped = concrete
        shapes: dict[str, Numbers] = {}
        for value in _values(shaped.graph):
            element = value.type.tensor_type.elem_type
            if element:
                self._elements[value.name] = element
            dims = dimensions(value)
            if dims is not None and all(isinstance(d, int) for d in dims):
                shapes[value.name] = tuple(int(d) for d in dims if d is not None)
        for tensor in _constants(shaped.graph):
            self._elements[tensor.name] = tensor.data_type
            shapes[tensor.name] = tuple(tensor.dims)
        return shapes


def _with_numbers(
    model: onnx.ModelProto, hints: Mapping[str, Sequence[int | None]], run: int
) -> onnx.ModelProto:
    """A copy in which numbers stand for the free dimensions of the inputs."""
    concrete = copy_model(model)
    named: dict[str, int] = {}
    for value in true_inputs(concrete.graph):
        hint = hints.get(value.name)
        if hint is not None:
            del value.type.tensor_type.shape.dim[:]
            for size in hint:
                value.type.tensor_type.shape.dim.add(
                    dim_value=_BATCHES[run] if size is None else size
                )
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                continue
            name = dim.dim_param or f"{value.name} {axis}"
            number = named.setdefault(name, _OTHERS[run][len(named) % len(_OTHERS[run])])
            dim.dim_value = _BATCHES[run] if axis == 0 else number
    # Declared shapes of outputs and inner tensors may name the batch, or hold another one.
    for value in concrete.graph.output:
        value.type.tensor_type.ClearField("shape")
    _forget_recorded(concrete.graph)
    return concrete


def _forget_recorded(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for node in graph.node:
        for body in subgraphs(node):
            _forget_recorded(body)


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
