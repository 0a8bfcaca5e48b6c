"""``OnnxModule``: an ONNX file as an ordinary PyTorch module."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.model import Model, load_model, parse_model
from lsa_onnx.rewrite.graph import dimensions, true_inputs
from lsa_onnx.rewrite.rebatch import rebatch
from lsa_onnx.sparse import sparse_names
from lsa_onnx.structure import first_output
from lsa_trainer.constants import find_constants
from lsa_trainer.patterns import Patterns
from lsa_trainer.places import FLOATS
from lsa_trainer.tensors import tensor_of, torch_tensor
from lsa_trainer.translation import Program, in_dialect, translate
from lsa_trainer.weights import Constants, Weight
from lsa_trainer.writeback.placing import writable

_NOT_WRITABLE = "not in the main graph of the file under a name of its own"
_SPARSE = "stored sparse, where trained values have no place: store it dense to train it"


class OnnxModule(torch.fx.GraphModule):
    """An ONNX graph that PyTorch runs and trains.

    Called with the model's inputs in order, it returns its output, or a tuple where there are several;
    made by ``reading``, a dictionary of the tensors asked for. Parameters are found under the names and in the layout
    of their initializers.

    Attributes:
        constants: Which constants of the file are weights, see ``lsa_trainer.weights``.
        input_names: Names of the inputs.
        output_names: Names of the outputs.
        batch_is_free: Whether it takes any number of samples.
    """

    constants: Constants
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    batch_is_free: bool
    _program: Program
    _tensors: tuple[str, ...] | None

    def __init__(
        self, program: Program, constants: Constants, tensors: tuple[str, ...] | None = None
    ) -> None:
        """Make a module of a translated graph.

        Args:
            program: The graph.
            constants: What its constants are.
            tensors: What a call returns by name; ``None`` for the outputs as ONNX has them.

        Raises:
            ModelError: A tensor is not one that the graph computes.
        """
        graph = _reading(program, program.outputs if tensors is None else tensors, tensors is None)
        super().__init__(program.root, graph, "OnnxModule")
        self._program = program
        self._tensors = tensors
        self.constants = constants
        self.batch_is_free = program.free_batch
        self.input_names = program.inputs
        self.output_names = program.outputs
        _forget_constants(self, program)

    def reading(self, tensors: Iterable[str]) -> OnnxModule:
        """A module that shares everything with this one, and returns ``{name: tensor}``.

        What the named tensors do not need is not computed. The names are part of the graph: they
        hold under ``torch.compile`` and inside wrappers for several processes as well.

        Args:
            tensors: Names of tensors of the ONNX graph.

        Raises:
            ModelError: There is no such tensor.
        """
        view = OnnxModule(self._program, self.constants, tuple(tensors))
        view.train(self.training)
        return view

    @property
    def tensor_names(self) -> list[str]:
        """The tensors that can be read, in the order of the graph."""
        return list(self._program.values)

    def weight(self, name: str) -> torch.nn.Parameter:
        """The parameter of a weight, by its name in ``constants.weights``.

        Raises:
            KeyError: There is no such weight, or it is inside the body of a node, where nothing trains.
        """
        if name in {w.name for w in self.constants.statistics}:
            raise KeyError(f"{name!r} is running statistics, which `statistics()` returns")
        return self._program.root.get_parameter(self._program.paths[name])

    def trained(self) -> dict[Weight, torch.Tensor]:
        """The weights that train, with their values; running statistics are in ``statistics``."""
        return {w: self.weight(w.name).detach() for w in self.constants.weights if w.trains}

    def statistics(self) -> dict[str, torch.Tensor]:
        """Running means and variances, by the name of their initializer or untied copy."""
        root, paths = self._program.root, self._program.paths
        return {w.name: root.get_buffer(paths[w.name]) for w in self.constants.statistics}

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxModule:
        program = self._program
        copied = dataclasses.replace(program, root=copy.deepcopy(program.root, memo))
        module = OnnxModule(copied, self.constants, self._tensors)
        module.train(self.training)
        return module

    def __reduce__(self) -> Any:
        # What torch.fx makes of a pickle is traced anew, and lacks all that this class adds.
        raise TypeError(
            "an OnnxModule is not pickled; save its state_dict(), and load that into lsa_trainer.load(path)"
        )

    def _apply(self, fn: Any, recurse: bool = True) -> OnnxModule:
        """Move or convert everything, also what this view does not read.

        Views that were made before share parameters with this one, but keep their buffers: move first.
        """
        root = self._program.root
        root._apply(fn, recurse)
        for path, _ in [*self.named_buffers(remove_duplicate=False)]:
            owner, _, name = path.rpartition(".")
            self.get_submodule(owner)._buffers[name] = root.get_buffer(path)
        return self


def load(path: str | Path, *, free_batch: bool = True, promote_half: bool = False) -> OnnxModule:
    """An ONNX file as a PyTorch module, ready to run, train or inspect.

    Args:
        path: The file, with its external data beside it.
        free_batch: Free a batch of 1 that is baked into the file, if batches then give what single
            samples give.
        promote_half: Compute in float32 where the file says float16 or bfloat16, as training wants.

    Returns:
        The module, in evaluation mode, on the CPU.

    Raises:
        DataError: There is no such file, or it cannot be read.
        ModelError: The file is no ONNX model, or has operators that torch cannot run; all are named.
        UnsafeModelError: It refers to data outside its folder.
    """
    return from_model(load_model(path), free_batch=free_batch, promote_half=promote_half)


def from_model(model: Model, *, free_batch: bool = True, promote_half: bool = False) -> OnnxModule:
    """See ``load``."""
    raw = parse_model(model.path)
    module = _translated(model, model.proto, raw, promote_half)
    if not free_batch or not _has_batch_of_one(model.proto):
        return module
    freed = _translated(model, rebatch(model.proto), raw, promote_half)
    return freed if _is_equal_on_batches(freed, module, model) else module


def _translated(
    model: Model, proto: onnx.ModelProto, raw: onnx.ModelProto, promote_half: bool
) -> OnnxModule:
    """``proto``, which is made of ``model``, as a module; ``raw`` is the file as it is."""
    written = in_dialect(proto)
    floats = [t for t in written.graph.initializer if t.data_type in FLOATS]
    values = {tensor.name: tensor_of(tensor, model.folder) for tensor in floats}
    found = find_constants(written, Patterns.of(values), _places(raw))
    fixed = {source for source, _ in found.sources.values()} - writable(raw).keys()
    constants = found.freeze({*sparse_names(raw.graph)}, _SPARSE).freeze(fixed, _NOT_WRITABLE)
    program = translate(
        written,
        model.folder,
        parameters={
            weight.name: torch.nn.Parameter(value, requires_grad=weight.trains)
            for weight, value in _held(constants.weights, values, promote_half)
        },
        kept={w.name: value for w, value in _held(constants.statistics, values, promote_half)},
        untied=constants.untied,
        float_type=torch.float32 if promote_half else None,
        reserved={*dir(OnnxModule), *OnnxModule.__annotations__},
    )
    module = OnnxModule(program, constants)
    module.eval()
    return module


def _held(
    weights: Iterable[Weight], values: Mapping[str, torch.Tensor], promote_half: bool
) -> Iterator[tuple[Weight, torch.Tensor]]:
    """What is held under a name, with its value; nothing shares memory."""
    for weight in weights:
        if weight.source not in values or weight.frozen.startswith("inside the body"):
            continue
        value = values[weight.source]
        if promote_half and value.dtype in (torch.float16, torch.bfloat16):
            value = value.float()
        yield weight, value.clone() if weight.use else value


def _places(raw: onnx.ModelProto) -> set[tuple[str, int]]:
    """Where nodes of the main graph of the file as it is read something: (first output, input).

    A call of a local function is no such node: what it makes, a node of the function makes in the end.
    """
    local = {(function.domain, function.name) for function in raw.functions}
    nodes = [node for node in raw.graph.node if (node.domain, node.op_type) not in local]
    return {(first_output(node), i) for node in nodes for i in range(len(node.input))}


def _has_batch_of_one(proto: onnx.ModelProto) -> bool:
    shapes = [dimensions(value) for value in true_inputs(proto.graph)]
    return bool(shapes) and all(shape and shape[0] == 1 for shape in shapes)


def _is_equal_on_batches(freed: OnnxModule, single: OnnxModule, model: Model) -> bool:
    """Whether a batch of three random samples gives what the model as it is gives one by one."""
    rng = np.random.default_rng(0)
    given = [_three_samples(value, rng) for value in true_inputs(model.proto.graph)]
    names = list(freed.output_names)
    try:
        with torch.no_grad():
            together = freed.reading(names)(*given)
            apart = [single.reading(names)(*(x[i : i + 1] for x in given)) for i in range(3)]
    except (RuntimeError, IndexError, ValueError):
        return False
    return all(_agree(together[name], [each[name] for each in apart]) for name in names)


def _three_samples(value: onnx.ValueInfoProto, rng: np.random.Generator) -> torch.Tensor:
    """Random numbers for an input; integers are 0 or 1, which are valid wherever any two are."""
    shape = [d if isinstance(d, int) else 1 for d in dimensions(value) or []][1:]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    drawn: NDArray[Any] = rng.random((3, *shape))
    if dtype.kind in "biu":
        # No sample is like the one before it.
        drawn = (rng.integers(0, 2, shape) + np.arange(3).reshape(3, *[1] * len(shape))) % 2
    return torch_tensor(drawn.astype(dtype))


def _agree(together: torch.Tensor, apart: list[torch.Tensor]) -> bool:
    if any(each.ndim == 0 or each.shape[0] != 1 for each in apart):
        return False
    rows = torch.cat(apart)
    if rows.shape != together.shape:
        return False
    rtol = 1e-2 if rows.dtype in (torch.float16, torch.bfloat16) else 1e-3
    return bool(torch.allclose(rows.double(), together.double(), rtol=rtol, atol=rtol / 10))


def _reading(program: Program, tensors: Iterable[str], bare: bool) -> torch.fx.Graph:
    """A copy of the graph with nothing but what leads to ``tensors``."""
    wanted = list(tensors)
    missing = [name for name in wanted if name not in program.values]
    if missing:
        raise ModelError(
            f"there is no tensor {missing[0]!r} to read: it is not made by a node of the main graph "
            "that depends on the input; `lsa-onnx layers` lists the names"
        )
    results = [program.values[name] for name in wanted]
    needed = _ancestors(program.graph, results)
    graph = torch.fx.Graph()
    copies: dict[torch.fx.Node, torch.fx.Node] = {}
    for node in program.graph.nodes:
        if node in needed or node.op == "placeholder":
            copies[node] = graph.node_copy(node, copies.__getitem__)
    found = [copies[node] for node in results]
    if bare:
        graph.output(found[0] if len(found) == 1 else tuple(found))
    else:
        graph.output(dict(zip(wanted, found, strict=True)))
    return graph


def _ancestors(graph: torch.fx.Graph, results: Iterable[torch.fx.Node]) -> set[torch.fx.Node]:
    needed = set(results)
    for node in reversed(graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    return needed


def _forget_constants(module: OnnxModule, program: Program) -> None:
    """Keep constants of the file out of the state dict; ``GraphModule`` forgets that they were."""
    for path, _ in list(module.named_buffers()):
        owner, _, name = path.rpartition(".")
        holder, original = module.get_submodule(owner), program.root.get_submodule(owner)
        if name in original._non_persistent_buffers_set:
            holder._non_persistent_buffers_set.add(name)
