"""``expose``: intermediate tensors become graph outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.rewrite import expose
from tests import graphs
from tests.graphs import Shape, model, node, run, samples, value

if TYPE_CHECKING:
    import onnx

NETS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = {
    "mlp": (graphs.elu_mlp, (3, 2)),
    "conv": (graphs.conv_net, (3, 3, 5, 7)),
    "residual": (graphs.residual_net, (3, 3, 6, 8)),
    "transformer": (graphs.transformer, (3, 4, 6)),
    "fixed": (graphs.fixed_batch_net, (1, 3, 5, 7)),
    "lstm": (graphs.lstm_net, (3, 5, 3)),
    "if": (graphs.if_net, (3, 5)),
    "loop": (graphs.loop_net, (3, 5)),
    "nhwc": (graphs.nhwc_net, (3, 5, 7, 3)),
}


def made(proto: onnx.ModelProto) -> list[str]:
    return [name for n in proto.graph.node for name in n.output if name]


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("net", NETS)
def test_original_outputs_keep_their_bits_and_the_argument_its_bytes(
    net: str, optimised: bool
) -> None:
    build, shape = NETS[net]
    proto = build()
    before = proto.SerializeToString()
    x = {proto.graph.input[0].name: samples(1, *shape)}
    exposed = expose(proto, made(proto))
    assert proto.SerializeToString() == before
    if optimised:
        # Outputs stop fusions, so equality to the last bit is promised without optimisation only.
        plain, instrumented = run(proto, x, optimised=True), run(exposed, x, optimised=True)
        for name, expected in plain.items():
            np.testing.assert_allclose(instrumented[name], expected, rtol=1e-4, atol=1e-6)
        return
    plain, instrumented = run(proto, x), run(exposed, x)
    for name, expected in plain.items():
        assert instrumented[name].tobytes() == expected.tobytes()


def test_pass_through_and_repeated_outputs_survive() -> None:
    outputs = [value(n, ["N", 5]) for n in ("y", "x", "y")]
    proto = model(
        [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["y"])], [value("x", ["N", 5])], outputs
    )
    exposed = expose(proto, ["r", "y"])
    assert [o.name for o in exposed.graph.output] == ["y", "x", "y", "r"]


@settings(max_examples=25, deadline=None)
@given(
    rank=st.integers(2, 5),
    sizes=st.lists(st.integers(1, 4), min_size=5, max_size=5),
    opset=st.sampled_from([7, 9, 11, 13, 17, 18, 21, 23]),
    names=st.lists(
        st.sampled_from(["a", "a:0", "b/c", "x__perturbed", "α"]), unique=True, min_size=1
    ),
)
def test_any_chain_of_any_shape(rank: int, sizes: list[int], opset: int, names: list[str]) -> None:
    nodes, current = [], "x"
    for name in names:
        nodes.append(node("Neg", [current], [name], name=""))
        current = name
    nodes.append(node("Abs", [current], ["y"], name=""))
    shape: Shape = ["N", *sizes[1:rank]]
    proto = model(nodes, [value("x", shape)], [value("y", shape)], opset=opset)
    x = samples(rank, *sizes[:rank])
    results = run(expose(proto, names), {"x": x})
    for index, name in enumerate(names):
        np.testing.assert_array_equal(results[name], -x if index % 2 == 0 else x)
    np.testing.assert_array_equal(results["y"], x)
