"""Gradients of whole models against differences of what the untouched model says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto

from lsa_onnx.rewrite import Scored, expose
from lsa_onnx.rewrite.differentiate import differentiate, read_rows
from lsa_onnx.rewrite.objectives import Kind, Objective
from tests import graphs
from tests.conformance.retyped import retyped
from tests.graphs import Array, model, node, run, samples, value, weight
from tests.rewrite import losses
from tests.rewrite.gradients import Run, runner

if TYPE_CHECKING:
    import onnx

CLASS_KINDS: tuple[Kind, ...] = ("ce", "margin", "dlr")
OPSETS = (7, 9, 11, 12, 13, 18, 20, 22)
DIRECTIONS = 3
# Of the differences, which are taken of the model in double precision, or in single where the runtime
# computes no better; gradients are in single precision.
STEP, COARSE_STEP = 1e-6, 1e-3
TOLERANCE, COARSE_TOLERANCE = 1e-3, 1e-2


@dataclass
class Case:
    """A model, inputs at which it is smooth, and its logits."""

    proto: onnx.ModelProto
    feeds: dict[str, Array]
    logits: str = "y"
    layer: str | None = None
    batch_axis: int | None = 0
    elements: int | None = None
    # One of them is not what the model says.
    wrong: int = 1
    coarse: bool = False

    @property
    def labels(self) -> Array:
        """The classes that the model says, but for the second best of one sample."""
        best = np.argsort(-self.read(self.logits, self.feeds), axis=1)
        return np.where(np.arange(len(best)) == self.wrong, best[:, 1], best[:, 0])

    def read(self, name: str, feeds: Mapping[str, Array]) -> Array:
        """A tensor of the untouched model, one row per sample."""
        dtype = np.float32 if self.coarse else np.float64
        found = self._run(name)({n: np.asarray(x, dtype) for n, x in feeds.items()})[name]
        found = found.astype(np.float64)
        if name == self.logits:
            return np.asarray(found.reshape(1, -1) if self.batch_axis is None else found)
        count = 1 if self.batch_axis is None else len(next(iter(feeds.values())))
        return np.asarray(np.moveaxis(found, self.batch_axis or 0, 0).reshape(count, -1))

    def _run(self, name: str) -> Run:
        if name not in self._runs:
            exposed = expose(self.proto, [name])
            self._runs[name] = runner(
                exposed if self.coarse else retyped(exposed, TensorProto.DOUBLE)
            )
        return self._runs[name]

    _runs: dict[str, Run] = field(default_factory=dict)


def moved(case: Case, wrt: str, direction: Array) -> dict[str, Array]:
    return {**case.feeds, wrt: case.feeds[wrt] + np.asarray(direction, np.float64)}


def hold(
    case: Case, objective: Objective, goals: Mapping[str, Array], loss: Callable[[Any], Array]
) -> None:
    """Assert that losses are what ``loss`` makes of feeds, and gradients their differences."""
    wrt = list(case.feeds)
    made = differentiate(case.proto, objective, wrt)
    given = {made.goals[name]: goal for name, goal in goals.items()}
    found = run(made.model, {**case.feeds, **given})
    np.testing.assert_allclose(found[made.loss], loss(case.feeds), rtol=1e-3, atol=1e-4)
    step = COARSE_STEP if case.coarse else STEP
    tolerance = COARSE_TOLERANCE if case.coarse else TOLERANCE
    rng = np.random.default_rng(0)
    for name in wrt:
        gradient = found[made.gradients[name]].astype(np.float64)
        assert gradient.shape == case.feeds[name].shape
        rows = 1 if case.batch_axis is None else len(gradient)
        assert (np.abs(gradient.reshape(rows, -1)).max(1) > 0).all()
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(gradient.shape)
            ahead, behind = (loss(moved(case, name, s * step * direction)) for s in (1, -1))
            written = (gradient * direction).reshape(rows, -1).sum(1)
            numeric = (ahead - behind) / (2 * step)
            scale = np.linalg.norm(gradient.reshape(rows, -1), axis=1) + 1e-3
            np.testing.assert_array_less(np.abs(written - numeric), tolerance * scale)


def batch_net() -> onnx.ModelProto:
    """Logits and a layer whose samples lie on axis 1."""
    weights = {"w": weight(0, 5, 8), "v": weight(1, 8, 4)}
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[1, 0]),
        node("Transpose", ["t"], ["b"], perm=[1, 0]),
        node("MatMul", ["b", "v"], ["y"]),
    ]
    return model(nodes, [value("x", ["N", 5])], [value("y", ["N", 4])], weights)


def unbatched_net() -> onnx.ModelProto:
    weights = {"w": weight(0, 5, 8), "v": weight(1, 8, 4)}
    nodes = [
        node("MatMul", ["x", "w"], ["h"]),
        node("Tanh", ["h"], ["a"]),
        node("MatMul", ["a", "v"], ["y"]),
    ]
    return model(nodes, [value("x", [5])], [value("y", [4])], weights)


def probabilities_net() -> onnx.ModelProto:
    """The model returns a softmax; the logits are a tensor inside."""
    proto = graphs.conv_net()
    proto.graph.node[-1].output[0] = "z"
    proto.graph.node.append(node("Softmax", ["z"], ["y"], axis=-1, name="softmax"))
    return proto


def conv_case(opset: int) -> Case:
    return Case(graphs.conv_net(opset), {"x": samples(1, 3, 3, 5, 7)}, layer="relu")


CASES: dict[str, Callable[[], Case]] = {
    "mnist": lambda: Case(graphs.mnist_cnn(20, 22), {"x": samples(0, 3, 1, 20, 22)}, layer="r1"),
    **{f"conv opset {opset}": partial(conv_case, opset) for opset in OPSETS},
    "conv IR 3": lambda: Case(
        graphs.conv_net(8, ir=3), {"x": samples(1, 3, 3, 5, 7)}, layer="conv"
    ),
    "probabilities": lambda: Case(probabilities_net(), {"x": samples(1, 3, 3, 5, 7)}, "z", "relu"),
    "residual": lambda: Case(graphs.residual_net(), {"x": samples(2, 3, 3, 6, 8)}, layer="r1"),
    "transformer": lambda: Case(
        graphs.transformer(),
        {"x": samples(3, 3, 4, 6)},
        layer="attention",
        elements=2 * 4 * 4,
        coarse=True,
    ),
    "nhwc": lambda: Case(graphs.nhwc_net(), {"x:0": samples(4, 3, 5, 7, 3)}, "y:0", layer="conv:0"),
    "loop": lambda: Case(graphs.loop_net(), {"x": samples(15, 3, 5)}, layer="total"),
    "if": lambda: Case(graphs.if_net(), {"x": samples(6, 3, 5)}, layer="z"),
    "samples on axis 1": lambda: Case(
        batch_net(), {"x": samples(7, 3, 5)}, layer="t", batch_axis=1
    ),
    "fixed batch": lambda: Case(
        graphs.fixed_batch_net(), {"x": samples(8, 1, 3, 5, 7)}, layer="relu"
    ),
    "no batch": lambda: Case(unbatched_net(), {"x": samples(9, 5)}, layer="h", batch_axis=None),
}
SMALL: dict[str, Callable[[], Case]] = {
    # Two or three classes: no DLR.
    "lstm": lambda: Case(graphs.lstm_net(), {"x": samples(0, 3, 5, 3)}, layer="state", coarse=True),
    "two inputs": lambda: Case(
        graphs.two_input_net(),
        {"a": samples(1, 3, 5), "b": samples(2, 3, 3)},
        layer="both",
    ),
    "double": lambda: Case(
        graphs.typed_net("float64"), {"x": samples(4, 3, 5, dtype="float64")}, layer="r"
    ),
}


def objective_of(case: Case, kind: Kind, **how: Any) -> Objective:
    axis = None if case.batch_axis is None else 0
    return Objective(kind, (Scored(case.logits, axis),), **how)


@pytest.mark.parametrize("kind", CLASS_KINDS)
@pytest.mark.parametrize("name", CASES)
def test_class_objectives(name: str, kind: Kind) -> None:
    case = CASES[name]()
    formula = {"ce": losses.logit_loss, "margin": losses.lead, "dlr": losses.dlr}[kind]
    y = case.labels
    hold(
        case,
        objective_of(case, kind),
        {"labels": y},
        lambda f: formula(case.read(case.logits, f), y),
    )


@pytest.mark.parametrize("kind", ["ce", "margin"])
@pytest.mark.parametrize("name", SMALL)
def test_class_objectives_of_few_classes(name: str, kind: Kind) -> None:
    case = SMALL[name]()
    formula = {"ce": losses.logit_loss, "margin": losses.lead}[kind]
    y = case.labels
    hold(
        case,
        objective_of(case, kind),
        {"labels": y},
        lambda f: formula(case.read(case.logits, f), y),
    )


@pytest.mark.parametrize("kind", CLASS_KINDS)
@pytest.mark.parametrize("lowest_wins", [False, True])
def test_targets(kind: Kind, lowest_wins: bool) -> None:
    case = CASES["residual"]()
    formula = {
        "ce": lambda z, t: -losses.logit_loss(z, t),
        "margin": lambda z, t: -losses.lead(z, t),
        "dlr": losses.targeted_dlr,
    }[kind]
    sign, target = -1 if lowest_wins else 1, np.array([3, 4, 0])
    objective = objective_of(case, kind, targeted=True, lowest_wins=lowest_wins)
    hold(case, objective, {"target": target}, lambda f: formula(sign * case.read("y", f), target))


@pytest.mark.parametrize("lowest_wins", [False, True])
def test_lowest_scores_that_win(lowest_wins: bool) -> None:
    case = CASES["conv opset 18"]()
    sign, y = -1 if lowest_wins else 1, case.labels
    objective = objective_of(case, "ce", lowest_wins=lowest_wins)
    hold(case, objective, {"labels": y}, lambda f: losses.logit_loss(sign * case.read("y", f), y))


@pytest.mark.parametrize("name", [*CASES, *SMALL])
def test_objectives_without_labels(name: str) -> None:
    case = {**CASES, **SMALL}[name]()
    # Away from the clean input, where they are 0.
    rng = np.random.default_rng(1)
    elsewhere = {
        n: (x + rng.normal(0, 0.2, x.shape)).astype(x.dtype) for n, x in case.feeds.items()
    }
    axis = None if case.batch_axis is None else 0
    logits = Scored(case.logits, axis)
    layer = Scored(case.layer or "", case.batch_axis, case.elements)
    dtype = next(iter(case.feeds.values())).dtype
    for objective in (
        Objective("kl", (logits,)),
        Objective("output", (logits,)),
        Objective("layer", (layer,)),
    ):
        (item,) = objective.tensors
        clean = case.read(item.tensor, elsewhere)

        def loss(feeds: Any, kind: str = objective.kind, item: Scored = item) -> Array:
            now = case.read(item.tensor, feeds)
            clean = case.read(item.tensor, elsewhere)
            of = losses.divergence if kind == "kl" else losses.relative_change
            return of(clean, now)

        hold(case, objective, {"reference": clean.astype(dtype)}, loss)


def test_change_of_several_outputs_is_their_sum() -> None:
    case = CASES["residual"]()
    items = (Scored("y"), Scored("r0"))
    clean = [case.read(item.tensor, moved(case, "x", np.full((3, 3, 6, 8), 0.1))) for item in items]
    goals = {
        name: rows.astype(np.float32)
        for name, rows in zip(("reference", "reference 1"), clean, strict=True)
    }

    def loss(feeds: Any) -> Array:
        now = [case.read(item.tensor, feeds) for item in items]
        return np.asarray(sum(map(losses.relative_change, clean, now)))

    hold(case, Objective("output", items), goals, loss)


def test_half_precision_has_the_gradient_of_single_precision() -> None:
    answers = {}
    for dtype in ("float16", "float32"):
        made = differentiate(graphs.typed_net(dtype), Objective("ce", (Scored("y"),), 3), ["x"])
        feeds = {"x": samples(4, 3, 5, dtype=dtype), made.goals["labels"]: np.array([0, 1, 2])}
        answers[dtype] = run(made.model, feeds)[made.gradients["x"]]
    assert answers["float16"].dtype == np.float16
    np.testing.assert_allclose(answers["float16"], answers["float32"], atol=5e-3)


@pytest.mark.parametrize("name", ["transformer", "samples on axis 1", "no batch", "two inputs"])
def test_rows_are_references(name: str) -> None:
    case = {**CASES, **SMALL}[name]()
    items = [
        Scored(case.logits, None if case.batch_axis is None else 0),
        Scored(case.layer or "", case.batch_axis, case.elements),
    ]
    reader, names = read_rows(case.proto, items)
    found = run(reader, case.feeds)
    for item, row in zip(items, names, strict=True):
        wanted = case.read(item.tensor, case.feeds)
        np.testing.assert_allclose(found[row], wanted, rtol=1e-4, atol=1e-5)
