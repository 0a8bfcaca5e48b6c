"""The int8 file that ships is audited: what ONNX Runtime's own tools make of a model of floats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnxruntime.quantization import QuantType

from lsa_onnx.report.document import LayerInfo, Report
from tests import graphs
from tests.quantised import dynamic, static
from tests.real.quantising import in_real_numbers
from tests.real.whole_scans import (
    Whole,
    relative_error,
    require_figures,
    require_sound,
    whole_scan,
)
from tests.scanning.helpers import attack_of, result, score

if TYPE_CHECKING:
    import onnx

SAMPLES = 7
EPS = "0.3"
NETS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = {
    "conv": (graphs.conv_net, (3, 5, 7)),
    "residual": (graphs.residual_net, (3, 6, 8)),
    "mnist": (lambda: graphs.mnist_cnn(28, 32), (1, 28, 32)),
}
QDQ = ("QDQ QUInt8", "QDQ QInt8")
OPERATORS = ("QOperator QUInt8", "QOperator QInt8")
# Every change tries these.
QUICK = [("conv", "QDQ QUInt8"), ("conv", "dynamic")]


def cases(*ways: str) -> list[Any]:
    """Each network, quantised in each of these ways."""
    chosen = [(name, how) for name in NETS for how in ways]
    return [pytest.param(*c, marks=[] if c in QUICK else pytest.mark.slow) for c in chosen]


# Exposing floats between integers stops a fusion: a number may then be rounded up that was rounded
# down. Where every kernel stays, so does every bit.
FUSED, SAME = 0.05, 1e-4


def scanned(folder: Path, name: str, how: str, layers: str = "all") -> Whole:
    """The network, quantised and scanned."""
    make, shape = NETS[name]
    model = graphs.save(quantised(make(), shape, how), folder / "model.onnx")
    data = folder / "data.npz"
    np.savez(data, x=graphs.samples(2, SAMPLES, *shape))
    return whole_scan(model, data, layers=(layers,), eps=EPS)


def quantised(proto: onnx.ModelProto, shape: tuple[int, ...], how: str) -> onnx.ModelProto:
    """Dynamically, or in a format and with a type of activations; with int8, by channel."""
    if how == "dynamic":
        return dynamic(proto)
    form, kind = how.split()
    return static(
        proto,
        (8, *shape),
        pairs=form == "QDQ",
        activation_type=QuantType[kind],
        weight_type=QuantType.QInt8,
        per_channel=kind == "QInt8",
    )


def ops(report: Report) -> list[str]:
    return [info.op for info in report.layers]


def why(report: Report, op: str) -> set[str]:
    """Why what such an operator makes is not scored."""
    return {item.reason for item in report.not_scored if item.op == op}


@pytest.mark.parametrize(("name", "how"), cases(*QDQ, *OPERATORS, "dynamic"))
def test_every_number_is_scored_as_what_it_stands_for(name: str, how: str, tmp_path: Path) -> None:
    found = scanned(tmp_path, name, how)
    tolerance = FUSED if how in QDQ else SAME
    require_sound(found, observer=tolerance)
    success = attack_of(found.report).success
    assert success is not None
    assert name == "conv" or success.value > 0.5
    if how == "dynamic":
        return
    clean, moved = (in_real_numbers(found.model, x) for x in (found.clean, found.attacked))
    scores = result(found.report, "pgd").layers
    assert len(scores) >= 4
    for each in scores:
        pairs = list(zip(clean[each.tensor], moved[each.tensor], strict=True))
        errors = np.asarray([relative_error(a, b) for a, b in pairs])
        distances = np.asarray([np.linalg.norm(a - b) for a, b in pairs])
        require_figures(each.relative_error, errors, rel=tolerance)
        require_figures(each.absolute_error, distances, rel=tolerance)


@pytest.mark.parametrize(("name", "how"), cases(*QDQ))
def test_pairs_are_scored_once_after_they_are_dequantised(
    name: str, how: str, tmp_path: Path
) -> None:
    report = scanned(tmp_path, name, how).report
    assert "QuantizeLinear" not in ops(report)
    assert ops(report).count("DequantizeLinear") >= 3
    for reason in why(report, "QuantizeLinear"):
        assert reason.startswith("quantised: scored as '")
        assert reason.split("'")[1] in {info.tensor for info in report.layers}


@pytest.mark.parametrize(("name", "how"), cases(*QDQ, *OPERATORS))
def test_the_layers_of_a_float_model_are_those_of_its_quantised_form(
    name: str, how: str, tmp_path: Path
) -> None:
    found = scanned(tmp_path, name, how, "activations")
    require_sound(found, observer=FUSED if how in QDQ else 0)
    make, _ = NETS[name]
    floats = graphs.save(make(), tmp_path / "floats.onnx")
    data = tmp_path / "data.npz"
    theirs = whole_scan(floats, data, layers=("activations",), eps=EPS).report
    assert ("DequantizeLinear" if how in QDQ else "QLinearConv") in ops(found.report)
    ours, others = layers_of(found.report), layers_of(theirs)
    assert ours.keys() == others.keys()
    # Eight bits hold a layer's numbers to about a percent of them; a ReLU before them is gone.
    common = [layer for layer in ours if len(others[layer].learnable) == 1]
    assert common
    for layer in common:
        assert ours[layer].parameters == pytest.approx(others[layer].parameters, abs=1)
        for noisy in ("gaussian", "pgd"):
            means = [
                score(report, noisy, layers[layer].tensor).relative_error.mean
                for report, layers in ((found.report, ours), (theirs, others))
            ]
            assert means[0] == pytest.approx(means[1], rel=0.25)


def layers_of(report: Report) -> dict[str, LayerInfo]:
    """Learnable node of the model of floats → where it is read."""
    return {node.removesuffix("_quant"): info for info in report.layers for node in info.learnable}


def test_integers_of_a_known_scale_say_how_they_are_read(tmp_path: Path) -> None:
    report = scanned(tmp_path, "conv", "QOperator QUInt8").report
    readings = {info.op: info.reading for info in report.layers}
    assert readings["QLinearConv"] == "through its scale 'conv_scale'"
    assert readings["DequantizeLinear"] is None


def test_accumulators_are_scored_where_they_get_their_scale(tmp_path: Path) -> None:
    report = scanned(tmp_path, "conv", "dynamic").report
    (reason,) = why(report, "ConvInteger")
    assert reason.startswith("integer accumulator: scored as '")
    assert reason.split("'")[1] in {info.tensor for info in report.layers}
