"""If, Loop and Scan: modules that hold their bodies, translated to graphs of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lsa_trainer.ops.registry import Op
from lsa_trainer.translation.values import Static

if TYPE_CHECKING:
    import onnx

    from lsa_trainer.translation.scope import Scope


@dataclass(frozen=True)
class Body:
    """A translated body.

    Attributes:
        module: Called with the inputs of the body, then what it reads of the graphs around it.
        captures: Names of the latter.
        inputs: How many inputs the body has.
        none: For each result, none of them: a tensor of its type, empty along a new first axis.
    """

    module: torch.fx.GraphModule
    captures: tuple[str, ...]
    inputs: int
    none: Sequence[Tensor]


class If(torch.nn.Module):
    """Runs the body that the condition chooses."""

    def __init__(self, then: Body, otherwise: Body) -> None:
        super().__init__()
        self.then, self.otherwise = then.module, otherwise.module
        self._split = len(then.captures)

    def forward(self, condition: Tensor, *captured: Tensor) -> tuple[Tensor, ...]:
        """The results of the chosen body."""
        chosen = bool(condition)
        result: tuple[Tensor, ...]
        result = (
            self.then(*captured[: self._split])
            if chosen
            else self.otherwise(*captured[self._split :])
        )
        return result


class Loop(torch.nn.Module):
    """Runs a body while it says so, at most a given number of times."""

    def __init__(self, body: Body, states: int) -> None:
        super().__init__()
        self.body = body.module
        self._states = states
        self._none = body.none[1 + states :]

    def forward(
        self, most: Tensor | None, condition: Tensor | None, *given: Tensor
    ) -> tuple[Tensor, ...]:
        """The last states, then what each step gave, stacked along a new first axis."""
        states, captured = given[: self._states], given[self._states :]
        going = True if condition is None else bool(condition)
        limit = None if most is None else int(most)
        rows: list[tuple[Tensor, ...]] = []
        step = 0
        while going and (limit is None or step < limit):
            number = torch.tensor(step, dtype=torch.int64)
            stopped, *results = self.body(number, torch.tensor(True), *states, *captured)
            going = bool(stopped)
            states = tuple(results[: self._states])
            rows.append(tuple(results[self._states :]))
            step += 1
        return (*states, *self._collected(rows, given))

    def _collected(self, rows: list[tuple[Tensor, ...]], given: Sequence[Tensor]) -> list[Tensor]:
        if rows:
            return [torch.stack(column) for column in zip(*rows, strict=True)]
        return [none.to(given[0].device) if given else none for none in self._none]


class Scan(torch.nn.Module):
    """Runs a body over the slices of its scan inputs."""

    def __init__(self, body: Body, states: int, attributes: Mapping[str, Any]) -> None:
        super().__init__()
        self.body = body.module
        self._states = states
        scanned, results = body.inputs - states, len(body.none) - states
        self._axes = attributes.get("scan_input_axes") or [0] * scanned
        self._backwards = attributes.get("scan_input_directions") or [0] * scanned
        self._result_axes = attributes.get("scan_output_axes") or [0] * results
        self._result_backwards = attributes.get("scan_output_directions") or [0] * results

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """The last states, then what each step gave, stacked."""
        count = self._states + len(self._axes)
        states, scanned = given[: self._states], given[self._states : count]
        slices = [
            x.flip(axis).unbind(axis) if back else x.unbind(axis)
            for x, axis, back in zip(scanned, self._axes, self._backwards, strict=True)
        ]
        rows = []
        for items in zip(*slices, strict=True):
            results = self.body(*states, *items, *given[count:])
            states = results[: self._states]
            rows.append(results[self._states :])
        stacked = [
            self._stacked(column, index) for index, column in enumerate(zip(*rows, strict=True))
        ]
        return (*states, *stacked)

    def _stacked(self, column: Sequence[Tensor], index: int) -> Tensor:
        ordered = list(column)[::-1] if self._result_backwards[index] else list(column)
        return torch.stack(ordered, dim=self._result_axes[index])


def _graph(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
    graph: onnx.GraphProto = next(a.g for a in node.attribute if a.name == name)
    return graph


def _outer(scope: Scope, names: Sequence[str]) -> list[torch.fx.Node | None]:
    return [scope.tensor(scope.find(name)) if name else None for name in names]


def _if(scope: Scope, node: onnx.NodeProto) -> None:
    condition = scope.find(node.input[0])
    then, otherwise = _graph(node, "then_branch"), _graph(node, "else_branch")
    if isinstance(condition, Static):
        results = scope.inline(then if bool(condition.value) else otherwise)
        scope.define_outputs(node, results, several=True)
        return
    bodies = [scope.body(graph) for graph in (then, otherwise)]
    captured = [name for body in bodies for name in body.captures]
    arguments = [scope.tensor(condition), *_outer(scope, captured)]
    result = scope.call_module("If", If(*bodies), arguments)
    scope.define_outputs(node, result, several=True)


def _loop(scope: Scope, node: onnx.NodeProto) -> None:
    body = scope.body(_graph(node, "body"))
    names = [*node.input, *([""] * (2 - len(node.input)))]
    arguments = _outer(scope, [*names, *body.captures])
    module = Loop(body, states=len(names) - 2)
    scope.define_outputs(node, scope.call_module("Loop", module, arguments), several=True)


def _scan(scope: Scope, node: onnx.NodeProto) -> None:
    body = scope.body(_graph(node, "body"))
    attributes = Op(node, scope.common.opset).attributes
    states = body.inputs - attributes["num_scan_inputs"]
    arguments = _outer(scope, [*node.input, *body.captures])
    module = Scan(body, states, attributes)
    scope.define_outputs(node, scope.call_module("Scan", module, arguments), several=True)


CONTROL: Mapping[str, Callable[[Scope, onnx.NodeProto], None]] = {
    "If": _if,
    "Loop": _loop,
    "Scan": _scan,
}
