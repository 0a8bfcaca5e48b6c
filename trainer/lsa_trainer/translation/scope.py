"""A graph while it is translated: what its names stand for, and how a node becomes a call."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_trainer.ops.element_types import TORCH_TYPES
from lsa_trainer.tensors import tensor_of
from lsa_trainer.translation.calls import translate_node
from lsa_trainer.translation.control import Body
from lsa_trainer.translation.paths import attribute_path, hold
from lsa_trainer.translation.runtime import host_tensor, item
from lsa_trainer.translation.values import Host, Static, Value, plain

if TYPE_CHECKING:
    import onnx

_HALF = (torch.float16, torch.bfloat16)


@dataclass
class Common:
    """What the main graph and all bodies share; see ``translate``."""

    root: torch.nn.Module
    known: KnownShapes
    opset: int
    folder: Path | None
    untied: dict[tuple[str, int], str]
    float_type: torch.dtype | None
    # Attributes of the module that is made in the end, which no tensor may hide.
    reserved: Collection[str] = ()
    # Where in the root constants are that some graph reads as tensors.
    constants: dict[Static, str] = field(default_factory=dict)
    count: int = 0

    def constant(self, tensor: onnx.TensorProto) -> torch.Tensor:
        """The value of a constant, in the type in which the module computes."""
        return self.widened(tensor_of(tensor, self.folder))

    def widened(self, tensor: torch.Tensor) -> torch.Tensor:
        """``tensor`` in the type in which the module computes."""
        wanted = self.float_type
        return tensor.to(wanted) if wanted and tensor.dtype in _HALF else tensor

    def fresh(self, stem: str) -> str:
        """A path in the root that nothing has yet."""
        self.count += 1
        return attribute_path(self.root, f"{stem}_{self.count}", self.reserved)


@dataclass
class Scope:
    """Names and their values in one graph; ``outer`` is that of the graph around a body."""

    common: Common
    graph: torch.fx.Graph
    outer: Scope | None = None
    values: dict[str, Value] = field(default_factory=dict)
    # What a body reads of the graphs around it: name → its placeholder here.
    captured: dict[str, torch.fx.Node] = field(default_factory=dict)
    # Constants that this graph reads as tensors.
    constants: dict[Static, torch.fx.Node] = field(default_factory=dict)
    # Nodes that are made of shapes alone, and so live on the CPU.
    on_host: set[torch.fx.Node] = field(default_factory=set)

    def define(self, name: str, value: Value) -> None:
        """``name`` stands for ``value`` from now on."""
        if name:
            self.values[name] = value

    def find(self, name: str) -> Value:
        """What ``name`` stands for; a tensor of a graph around becomes an argument of this one."""
        if name in self.values:
            return self.values[name]
        if self.outer is None:
            raise KeyError(name)
        value = self.outer.find(name)
        if isinstance(value, Static):
            return value
        if name not in self.captured:
            self.captured[name] = self.graph.placeholder(f"captured_{len(self.captured)}")
        self.values[name] = self.captured[name]
        return self.captured[name]

    def run(self, graph: onnx.GraphProto) -> None:
        """Translate every node of ``graph``, in order."""
        for node in graph.node:
            translate_node(self, node)

    def body(self, graph: onnx.GraphProto) -> Body:
        """A body of control flow as a module of its own."""
        inner = Scope(self.common, torch.fx.Graph(), self)
        for index, value in enumerate(graph.input):
            inner.define(value.name, inner.graph.placeholder(f"x{index}"))
        for tensor in graph.initializer:
            inner.define(tensor.name, Static(self.common.constant(tensor)))
        inner.run(graph)
        results = tuple(inner.tensor(inner.find(value.name)) for value in graph.output)
        inner.graph.output(results)
        module = torch.fx.GraphModule(self.common.root, inner.graph)
        # It holds nothing but constants, and forgets that they are.
        module._non_persistent_buffers_set.update(module._buffers)
        none = [self._none(value.name) for value in graph.output]
        return Body(module, tuple(inner.captured), len(graph.input), none)

    def _none(self, name: str) -> torch.Tensor:
        """A tensor of no elements that has the type of ``name``, and its shape behind a first axis."""
        known = self.common.known
        dtype = TORCH_TYPES.get(known.element(name) or 0, torch.float32)
        # As ONNX Runtime has it, sizes that are not known are 0.
        shape = [size or 0 for size in known.dims(name) or ()]
        return self.common.widened(torch.zeros(0, *shape, dtype=dtype))

    def inline(self, graph: onnx.GraphProto) -> list[Value]:
        """The results of a body that runs here, once and always."""
        for tensor in graph.initializer:
            self.define(tensor.name, Static(self.common.constant(tensor)))
        self.run(graph)
        return [self.find(value.name) for value in graph.output]

    def tensor(self, value: Value) -> torch.fx.Node:
        """``value`` as a tensor of the running graph."""
        if isinstance(value, Static):
            return self._constant(value)
        if isinstance(value, Host):
            numbers = [plain(number) for number in value.numbers.ravel()]
            made = self.graph.call_function(host_tensor, (numbers, value.numbers.shape))
            self.on_host.add(made)
            return made
        return value

    def _constant(self, value: Static) -> torch.fx.Node:
        if value not in self.constants:
            path = self.common.constants.get(value)
            if path is None:
                path = self.common.constants[value] = self.common.fresh("constant")
                hold(self.common.root, path, value.value, kept=False)
            self.constants[value] = self.graph.get_attr(path)
        return self.constants[value]

    def call_module(self, stem: str, module: torch.nn.Module, arguments: Sequence[Any]) -> Any:
        """A call of ``module``, which the root holds from now on."""
        path = self.common.fresh(stem)
        self.common.root.add_module(path, module)
        return self.graph.call_module(path, tuple(arguments))

    def define_outputs(self, node: onnx.NodeProto, result: Any, *, several: bool) -> None:
        """Give the outputs of ``node`` what a call returned: a tensor, or a tuple of them."""
        for index, name in enumerate(node.output):
            if not name:
                continue
            value = result
            if isinstance(result, torch.fx.Node) and several:
                value = self.graph.call_function(item, (result, index))
                if result in self.on_host:
                    self.on_host.add(value)
            elif isinstance(result, (tuple, list)):
                value = result[index]
            self.define(name, value)
