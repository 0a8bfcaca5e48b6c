"""``--layers``: what each kind of selector picks, and what a mistake says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.layers import LayerPlan, plan_layers
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.runtime.inspection import survey
from tests import graphs

if TYPE_CHECKING:
    import onnx


def plan(proto: onnx.ModelProto, *selectors: str) -> LayerPlan:
    return plan_layers(survey(proto, Path(), resolve_device("cpu")), selectors)


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        (["activations"], ["r0", "r1", "r2"]),
        (["learnable"], ["c0", "c1", "c2", "cd", "y"]),
        (["op:Conv"], ["c0", "c1", "c2", "cd"]),
        (["op:Gl*Pool"], ["pool"]),
        (["re:^c[01]$"], ["c0", "c1"]),
        (["re:^n_r"], ["r0", "r1", "r2"]),
        (["sum"], ["sum"]),
        (["n_sum"], ["sum"]),
        (["c?"], ["c0", "c1", "c2", "cd"]),
        (["p*"], ["pool"]),
        (["sum, r0,op:MatMul"], ["r0", "sum", "y"]),
        (["y", "c0"], ["c0", "y"]),
        (["re:c0,|flat"], ["flat"]),
    ],
)
def test_what_a_selector_picks(selectors: list[str], expected: list[str]) -> None:
    assert [info.tensor for info in plan(graphs.residual_net(), *selectors).layers] == expected


def test_all_picks_every_float_tensor_in_graph_order() -> None:
    proto = graphs.residual_net()
    made = [node.output[0] for node in proto.graph.node]
    assert [info.tensor for info in plan(proto, "all").layers] == made


def test_a_name_with_a_comma_is_a_name() -> None:
    proto = graphs.residual_net()
    pool = next(n for n in proto.graph.node if n.output[0] == "pool")
    pool.name = "pool,2x2"
    assert [info.tensor for info in plan(proto, "pool,2x2").layers] == ["pool"]


def test_what_is_left_out_says_so() -> None:
    reasons = {e.tensor: e.reason for e in plan(graphs.residual_net(), "sum").not_scored}
    assert reasons["r0"] == "not chosen by --layers"
    assert len(reasons) == 10


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("pol", r"--layers 'pol' matches no tensor or node \(did you mean 'pool'"),
        ("op:LSTM", "--layers 'op:LSTM' matches no tensor or node.*op:TYPE"),
        ("re:(", r"--layers 're:\(' is not a regular expression"),
        (
            "activation",
            "--layers 'activation' matches no.*accepted are activations, learnable, all",
        ),
        (" , ", "--layers is empty; give one of activations"),
    ],
)
def test_a_mistake_is_named(selector: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        plan(graphs.residual_net(), selector)


def test_a_selector_of_unusable_tensors_says_why() -> None:
    with pytest.raises(DataError, match=r"'positive' matches only 'positive'.*\(bool\)"):
        plan(graphs.if_net(), "positive")
