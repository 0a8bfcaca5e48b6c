"""Bodies in bodies at random, held to an interpreter; and all models with bodies that ONNX tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

from lsa_onnx.rewrite import expose
from lsa_onnx.rewrite.bodies import bodies
from lsa_onnx.rewrite.carry_out import carry_out
from lsa_onnx.rewrite.graph import local_names
from tests.conformance.cases import Case, node_cases
from tests.graphs import run, value

Array = NDArray[Any]
# A program is a list of steps: ("add", number), ("if", condition, then, else) and ("loop", count,
# body). A condition is an input of the model, or whether the iteration is odd; a count is an input, or
# the number of the iteration.
Program = list[Any]
CONDITIONS, COUNTS = ("a", "b"), ("m", "n")


def programs() -> st.SearchStrategy[Program]:
    step = st.tuples(st.just("add"), st.integers(1, 3))

    def larger(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
        condition = st.sampled_from((*CONDITIONS, "odd"))
        branch = st.tuples(st.just("if"), condition, inner, inner)
        loop = st.tuples(st.just("loop"), st.sampled_from((*COUNTS, "i")), inner)
        return st.lists(st.one_of(step, branch, loop), min_size=1, max_size=3)

    return st.recursive(st.lists(step, max_size=2), larger, max_leaves=8)


class Writer:
    """Writes a program as a graph. Sibling bodies use the same names."""

    def graph(
        self, program: Program, start: str, depth: int, step: str | None
    ) -> tuple[list[onnx.NodeProto], str]:
        nodes: list[onnx.NodeProto] = []
        current = start
        for index, (kind, *parts) in enumerate(program):
            result = f"t{depth}_{index}"
            if kind == "add":
                nodes.append(helper.make_node("Add", [current, f"k{parts[0]}"], [result]))
            elif kind == "if":
                condition = self._condition(parts[0], step)
                branches = {
                    name: self._body(inner, current, depth + 1, step)
                    for name, inner in zip(("then_branch", "else_branch"), parts[1:], strict=True)
                }
                nodes.append(helper.make_node("If", [condition], [result], result, **branches))
            else:
                count = step or "m" if parts[0] == "i" else parts[0]
                body = self._loop(parts[1], depth + 1)
                nodes.append(
                    helper.make_node("Loop", [count, "", current], [result], result, body=body)
                )
            current = result
        return nodes, current

    def _condition(self, wanted: str, step: str | None) -> str:
        return wanted if wanted != "odd" else "a" if step is None else f"odd_{step}"

    def _body(self, program: Program, start: str, depth: int, step: str | None) -> onnx.GraphProto:
        nodes, end = self.graph(program, start, depth, step)
        nodes.append(helper.make_node("Identity", [end], [f"end{depth}"]))
        return helper.make_graph(nodes, "b", [], [value(f"end{depth}", None)])

    def _loop(self, program: Program, depth: int) -> onnx.GraphProto:
        step, go, state = f"i{depth}", f"go{depth}", f"s{depth}"
        parity = [
            helper.make_node("Mod", [step, "two"], [f"rest_{step}"]),
            helper.make_node("Cast", [f"rest_{step}"], [f"odd_{step}"], to=onnx.TensorProto.BOOL),
        ]
        body = self._body(program, state, depth, step)
        body.node.extend(helper.make_node(*row) for row in [("Identity", [go], [f"on{depth}"])])
        inputs = [value(step, [], "int64"), value(go, [], "bool"), value(state, None)]
        outputs = [value(f"on{depth}", [], "bool"), *body.output]
        return helper.make_graph([*parity, *body.node], "l", inputs, outputs)


@dataclass
class Interpreter:
    """What each execution of each body makes: (path, tensor) → values, in order."""

    flags: Mapping[str, Any]
    made: dict[tuple[str, str], list[Array]] = field(default_factory=dict)

    def run(self, program: Program, start: Array, depth: int, step: int | None, path: str) -> Array:
        current = start
        for index, (kind, *parts) in enumerate(program):
            name = f"t{depth}_{index}"
            inside = f"{path}{name}"
            if kind == "add":
                current = current + np.float32(parts[0])
            elif kind == "if":
                branch = 0 if self._holds(parts[0], step) else 1
                attribute = ("then_branch", "else_branch")[branch]
                current = self.run(
                    parts[1 + branch], current, depth + 1, step, f"{inside}/{attribute}/"
                )
            else:
                count = (self.flags["m"] if step is None else step) if parts[0] == "i" else None
                for i in range(self.flags[parts[0]] if count is None else count):
                    self._note(f"{inside}/body/", f"s{depth + 1}", current)
                    current = self.run(parts[1], current, depth + 1, i, f"{inside}/body/")
            self._note(path, name, current)
        self._note(path, f"end{depth}", current)
        return current

    def _holds(self, condition: str, step: int | None) -> bool:
        if condition == "odd":
            return bool(self.flags["a"] if step is None else step % 2)
        return bool(self.flags[condition])

    def _note(self, path: str, name: str, value: Array) -> None:
        if path:
            self.made.setdefault((path[:-1], name), []).append(value)


def hold_to_interpreter(program: Program, flags: Mapping[str, Any]) -> int:
    """Compare what can be carried out; returns how many tensors that was."""
    nodes, end = Writer().graph(program, "x", 0, None)
    nodes.append(helper.make_node("Identity", [end], ["y"]))
    constants = [helper.make_tensor(f"k{k}", onnx.TensorProto.FLOAT, [], [k]) for k in (1, 2, 3)]
    constants.append(helper.make_tensor("two", onnx.TensorProto.INT64, [], [2]))
    inputs = [value("x", ["N", 2]), *(value(n, [], "bool") for n in CONDITIONS)]
    inputs += [value(name, [], "int64") for name in COUNTS]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", None)], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    wanted = {
        body.path: [name for name in sorted(local_names(body.graph)) if name[0] in "tse"]
        for body in bodies(proto)
    }
    carried = carry_out(proto, wanted)
    x = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    interpreter = Interpreter(flags)
    y = interpreter.run(program, x, 0, None, "")
    results = run(expose(carried.model, carried.names.values()), {"x": x, **arrays(flags)})
    np.testing.assert_array_equal(results["y"], y)
    for key, name in carried.names.items():
        expected = interpreter.made.get(key, [])
        # Nothing that a program makes is 0: that stands for a branch that was not taken.
        found = [row for row in results[name] if np.any(row)]
        assert len(found) == len(expected), key
        np.testing.assert_array_equal(found, expected or found, err_msg=str(key))
    return len(carried.names)


def arrays(flags: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.asarray(flag) for name, flag in flags.items()}


FLAGS = st.fixed_dictionaries(
    {"a": st.booleans(), "b": st.booleans(), "m": st.integers(0, 3), "n": st.integers(0, 2)}
)


@settings(max_examples=25, deadline=None)
@given(program=programs(), flags=FLAGS)
def test_programs(program: Program, flags: dict[str, Any]) -> None:
    hold_to_interpreter(program, flags)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(program=programs(), flags=FLAGS)
def test_many_programs(program: Program, flags: dict[str, Any]) -> None:
    hold_to_interpreter(program, flags)


def test_a_program_of_everything() -> None:
    """So that it is certain how much is compared: all but the three tensors of the innermost body."""
    inner = [("if", "odd", [("add", 1)], [("loop", "n", [("add", 2)])]), ("add", 3)]
    flags = {"a": True, "b": False, "m": 3, "n": 2}
    program = [("loop", "m", inner), ("if", "b", [], [("loop", "m", [("add", 1)])])]
    assert hold_to_interpreter(program, flags) == 14


def with_bodies() -> list[Case]:
    """ONNX's own models that have bodies and that ONNX Runtime can run."""
    # No numpy type of ONNX Runtime's, or operators it does not have.
    unknown = ("flexattention", "bfloat16")
    cases = node_cases()
    return [c for c in cases if bodies(c.model) and not any(u in c.name for u in unknown)]


@pytest.mark.slow
def test_models_of_onnx() -> None:
    cases = with_bodies()
    assert len(cases) > 30
    for case in cases:
        wanted = {b.path: sorted(filter(None, local_names(b.graph))) for b in bodies(case.model)}
        carried = carry_out(case.model, wanted)
        asked = {(path, tensor) for path, tensors in wanted.items() for tensor in tensors}
        assert carried.names.keys() | carried.refused.keys() == asked, case.name
        exposed = expose(carried.model, carried.names.values())
        for optimised in (False, True):
            expected = run(case.model, case.feeds, optimised=optimised)
            found = run(exposed, case.feeds, optimised=optimised)
            for name, array in expected.items():
                np.testing.assert_equal(found[name], array, err_msg=case.name)
