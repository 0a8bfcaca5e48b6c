"""``LSTM``, ``GRU`` and ``RNN`` as a ``Scan`` equal ONNX Runtime's kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.rewrite.expand import expand
from tests import graphs
from tests.graphs import Array, weight
from tests.rewrite.expansion import assert_same, check, expanded, one_node, operators

TIMES, BATCH, FEATURES, HIDDEN = 4, 3, 5, 2
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
PER_DIRECTION = {"LSTM": 3, "GRU": 2, "RNN": 1}
RESULTS = {"LSTM": ["y", "y_h", "y_c"], "GRU": ["y", "y_h"], "RNN": ["y", "y_h"]}
# Name → numbers of alpha and of beta that it takes.
ACTIVATIONS = {
    "Affine": (1, 1),
    "Elu": (1, 0),
    "HardSigmoid": (1, 1),
    "LeakyRelu": (1, 0),
    "Relu": (0, 0),
    "ScaledTanh": (1, 1),
    "Sigmoid": (0, 0),
    "Softplus": (0, 0),
    "Softsign": (0, 0),
    "Tanh": (0, 0),
    "ThresholdedRelu": (1, 0),
}
LENGTHS = np.array([2, 4, 1], np.int32)
OPTIONAL = ["bias", "lengths", "h", "c", "peepholes"]


def arrays(
    op: str, directions: int, present: set[str]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What is fed to a recurrent node, and its constants."""
    gates = GATES[op]
    feeds: dict[str, Array] = {"x": weight(0, TIMES, BATCH, FEATURES) * 2}
    constants = {
        "w": weight(1, directions, gates * HIDDEN, FEATURES) * 3,
        "r": weight(2, directions, gates * HIDDEN, HIDDEN) * 2,
    }
    if "bias" in present:
        constants["bias"] = weight(3, directions, 2 * gates * HIDDEN)
    if "lengths" in present:
        feeds["lengths"] = LENGTHS
    if "h" in present:
        feeds["h"] = weight(4, directions, BATCH, HIDDEN)
    if op == "LSTM" and "c" in present:
        feeds["c"] = weight(5, directions, BATCH, HIDDEN)
    if op == "LSTM" and "peepholes" in present:
        constants["peepholes"] = weight(6, directions, 3 * HIDDEN)
    return feeds, constants


def compare(op: str, direction: str, present: set[str], **options: Any) -> None:
    feeds, constants = arrays(op, 2 if direction == "bidirectional" else 1, present)
    known = feeds | constants
    order = ["x", "w", "r", *(name if name in known else "" for name in OPTIONAL)]
    order = order if op == "LSTM" else order[:6]
    options.setdefault("outputs", RESULTS[op])
    check(op, feeds, constants, order=order, direction=direction, hidden_size=HIDDEN, **options)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    "present", [set(), {"bias"}, {"bias", "lengths"}, {"bias", "h", "c"}, set(OPTIONAL)]
)
@pytest.mark.parametrize("op", GATES)
def test_every_direction_and_input(op: str, present: set[str], direction: str) -> None:
    compare(op, direction, present)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_combination_of_options(data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(sorted(GATES)))
    direction = data.draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    count = PER_DIRECTION[op] * (2 if direction == "bidirectional" else 1)
    options = data.draw(st.fixed_dictionaries({}, optional={"clip": st.sampled_from([0.3, 1.0])}))
    names = data.draw(
        st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=count, max_size=count)
    )
    options |= activation_options(names)
    if op == "LSTM":
        options["input_forget"] = data.draw(st.integers(0, 1))
    if op == "GRU":
        options["linear_before_reset"] = data.draw(st.integers(0, 1))
    compare(op, direction, data.draw(st.sets(st.sampled_from(OPTIONAL))), **options)


def activation_options(names: list[str]) -> dict[str, Any]:
    """The activations, and one number for each that takes it."""
    options: dict[str, Any] = {"activations": names}
    for place, kind in enumerate(("alpha", "beta")):
        count = sum(ACTIVATIONS[name][place] for name in names)
        if count:
            options[f"activation_{kind}"] = [0.2 + 0.1 * (place + i) for i in range(count)]
    return options


@pytest.mark.parametrize("kind", ["Elu", "HardSigmoid", "LeakyRelu"])
@pytest.mark.parametrize("op", GATES)
def test_activations_without_numbers_take_onnx_runtimes(op: str, kind: str) -> None:
    compare(op, "forward", {"bias"}, activations=[kind] * PER_DIRECTION[op])


@pytest.mark.parametrize("linear", [0, 1])
@pytest.mark.parametrize("present", [set(), {"bias"}, {"bias", "h"}])
def test_where_gru_applies_its_reset_gate(present: set[str], linear: int) -> None:
    compare("GRU", "bidirectional", present, linear_before_reset=linear, clip=0.5)


@pytest.mark.parametrize(
    ("op", "outputs"),
    [
        ("LSTM", ["y"]),
        ("LSTM", ["", "y_h"]),
        ("LSTM", ["", "", "y_c"]),
        ("GRU", ["", "y_h"]),
        ("RNN", ["y"]),
    ],
)
def test_any_outputs_may_be_left_out(op: str, outputs: list[str]) -> None:
    compare(op, "bidirectional", {"bias", "lengths"}, outputs=outputs)


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_a_sample_without_steps_ends_in_zeros(op: str) -> None:
    feeds, constants = arrays(op, 1, {"lengths", "h", "c"})
    feeds["lengths"] = np.array([0, 4, 2], np.int32)
    order = ["x", "w", "r", "", "lengths", "h", *(["c"] if op == "LSTM" else [])]
    proto = one_node(op, feeds, constants, order, outputs=RESULTS[op], hidden_size=HIDDEN)
    assert not graphs.run(expanded(proto, fully=True), feeds)["y_h"][:, 0].any()
    assert_same(proto, feeds)


def batch_first(values: Mapping[str, Array]) -> dict[str, Array]:
    orders = {"y": (2, 0, 1, 3)} | dict.fromkeys(["y_h", "y_c", "x", "h", "c"], (1, 0, 2))
    return {
        name: np.ascontiguousarray(array.transpose(orders[name])) for name, array in values.items()
    }


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_the_batch_may_come_first(op: str, direction: str) -> None:
    feeds, constants = arrays(op, 2 if direction == "bidirectional" else 1, {"h", "c", "bias"})
    order = ["x", "w", "r", "bias", "", "h", *(["c"] if op == "LSTM" else [])]
    options: dict[str, Any] = {"direction": direction, "hidden_size": HIDDEN}
    times_first = one_node(op, feeds, constants, order, outputs=RESULTS[op], **options)
    expected = batch_first(graphs.run(times_first, feeds))
    # ONNX Runtime has no kernel for this layout, so that of the other one is the reference.
    feeds = batch_first(feeds)
    outputs, options["layout"] = RESULTS[op], 1
    check(op, feeds, constants, order=order, outputs=outputs, expected=expected, **options)


@pytest.mark.parametrize("op", GATES)
def test_nothing_but_scans_and_primitives_is_left(op: str) -> None:
    feeds, constants = arrays(op, 2, set())
    proto = one_node(
        op, feeds, constants, ["x", "w", "r"], direction="bidirectional", hidden_size=HIDDEN
    )
    changed = expand(proto, lambda n: n.op_type in ("Scan", "Clip"))
    assert sum(node.op_type == "Scan" for node in changed.graph.node) == 2
    assert not operators(changed.graph) & {"LSTM", "GRU", "RNN", "If", "Loop"}


def test_time_and_batch_stay_free() -> None:
    feeds, constants = arrays("LSTM", 1, {"bias"})
    order = ["x", "w", "r", "bias"]
    proto = one_node("LSTM", feeds, constants, order, outputs=RESULTS["LSTM"], hidden_size=HIDDEN)
    changed = expanded(proto, fully=False)
    other = {"x": weight(9, 7, 2, FEATURES)}
    got, wanted = graphs.run(changed, other), graphs.run(proto, other)
    for name, value in wanted.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6)


def test_an_unknown_activation_is_left_alone() -> None:
    feeds, constants = arrays("RNN", 1, set())
    options: dict[str, Any] = {"activations": ["Cosine"], "hidden_size": HIDDEN}
    proto = one_node("RNN", feeds, constants, ["x", "w", "r"], **options)
    assert operators(expand(proto, lambda n: False).graph) == {"RNN"}
