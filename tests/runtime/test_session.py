"""Sessions: results by name, problems in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from lsa_onnx.errors import ModelError
from lsa_onnx.runtime.session import Session, SessionPlan, first_line
from tests import graphs
from tests.graphs import model, node, samples, save, value
from tests.runtime.rig import CPU


def test_results_come_by_name_in_the_order_asked_for() -> None:
    session = Session(graphs.two_input_net(), CPU)
    feeds = {"a": samples(1, 3, 5), "b": samples(2, 3, 3)}
    assert session.provider == "CPUExecutionProvider"
    assert list(session.run(feeds)) == ["y"]
    assert session.run(feeds)["y"].shape == (3, 2)
    assert session.tensor_types() == {"y": ("tensor(float)", ["N", 2])}


@pytest.mark.parametrize("optimisation", ["all", "extended", "none"])
@pytest.mark.parametrize("lean", [False, True])
def test_every_plan_gives_the_same_answer(optimisation: str, lean: bool, tmp_path: Path) -> None:
    proto = graphs.residual_net()
    x = {"x": samples(1, 2, 3, 6, 8)}
    plan = SessionPlan(optimisation=optimisation, lean=lean)  # type: ignore[arg-type]
    expected = graphs.run(proto, x)["y"]
    for source in (proto, save(proto, tmp_path / "m.onnx")):
        np.testing.assert_allclose(
            Session(source, CPU, None, plan).run(x)["y"], expected, rtol=1e-4
        )


def test_the_optimised_graph_is_saved_with_its_weights_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "optimised.onnx"
    Session(graphs.mnist_cnn(20, 22), CPU, None, SessionPlan(save_optimised=target))
    assert onnx.load(target, load_external_data=False).graph.node
    assert (tmp_path / "optimised.bin").stat().st_size > 200_000


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": samples(1, 2, 3, 5, 8)}, "Got: 8 Expected: 7"),
        ({"x": samples(1, 2, 3, 5, 7, dtype="float64")}, "double"),
        ({}, "x"),
    ],
)
def test_wrong_feeds_end_in_one_line(
    feeds: dict[str, graphs.Array], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Session(graphs.conv_net(), CPU).run(feeds)
    assert str(caught.value).startswith("ONNX Runtime failed to run the model: ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_does_not_hold_together_ends_in_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    proto = model([node("Relu", ["missing"], ["y"])], [value("x", [2, 3])], [value("y", None)])
    with pytest.raises(ModelError, match=r"cannot load the model: .*missing") as caught:
        Session(proto, CPU)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : no such\n  operator", "no such operator"),
        (
            (
                "/onnxruntime_src/onnxruntime/core/graph/utils.h:46 void onnxruntime::Check(const "
                "std::unordered_map<int, int>&, bool) Opset 99 is unknown"
            ),
            "Opset 99 is unknown",
        ),
        ("x" * 999, "x" * 400),
    ],
)
def test_internal_prefixes_are_left_out(raw: str, said: str) -> None:
    assert first_line(RuntimeError(raw)) == said


def test_results_hold_on_to_no_memory_of_the_runtime() -> None:
    result = Session(graphs.conv_net(), CPU).run({"x": samples(1, 2, 3, 5, 7)})["y"]
    assert result.flags.owndata
