"""Whole scans of small models, held to plain numpy, to the schema and to themselves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest

from lsa_onnx.report import dumps, load_schema
from lsa_onnx.report.document import LayerScore, Report
from tests import graphs
from tests.scanning.helpers import (
    Array,
    classes_of,
    plain_cm,
    result,
    saved,
    scanned,
    score,
    stored,
)

if TYPE_CHECKING:
    import onnx

SHAPE = (3, 5, 7)

MODELS: list[tuple[str, Callable[[], onnx.ModelProto], str, tuple[int, ...]]] = [
    ("conv", graphs.conv_net, "x", SHAPE),
    ("batch of 1", graphs.fixed_batch_net, "x", SHAPE),
    ("residual", graphs.residual_net, "x", (3, 6, 8)),
    ("transformer", graphs.transformer, "x", (4, 6)),
    ("nhwc", graphs.nhwc_net, "x:0", (5, 7, 3)),
]


def input_shape(proto: onnx.ModelProto) -> tuple[int, ...]:
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    return tuple(int(dim.dim_value) for dim in dims)[1:]


def pair(shape: tuple[int, ...], n: int = 13, dtype: str = "float32") -> tuple[Array, Array]:
    """Clean inputs, and perturbed ones that move by another amount in each sample."""
    x = graphs.samples(1, n, *shape, dtype=dtype)
    moved = x + np.linspace(0.3, 0.9, n).reshape(n, *[1] * len(shape)) * (0.5 - x)
    return x, np.clip(moved, 0, 1).astype(dtype)


def comparable(report: Report) -> dict[str, Any]:
    """All that two equal scans have in common."""
    found = report.to_dict()
    for name in ("seconds", "command"):
        del found["run"][name]
    del found["created"]
    return found


@pytest.mark.parametrize(
    ("name", "build", "input_name", "_shape"), MODELS, ids=[m[0] for m in MODELS]
)
def test_cm_is_that_of_plain_numpy_on_the_exposed_model(
    tmp_path: Path,
    name: str,
    build: Callable[[], onnx.ModelProto],
    input_name: str,
    _shape: tuple[int, ...],
) -> None:
    model = saved(tmp_path, build())
    x, x_adv = pair(input_shape(build()))
    data, perturbed = stored(tmp_path, x=x), stored(tmp_path, "adv.npz", x=x_adv)
    report = scanned(model, data, perturbed=perturbed, perturbations=(), layers=("all",), batch=4)
    expected = plain_cm(model, {input_name: x}, {input_name: x_adv}, ["all"])
    assert {info.tensor for info in report.layers} | {n.tensor for n in report.not_scored} >= set(
        expected
    )
    assert report.layers
    for info in report.layers:
        found, values = score(report, "pairs", info.tensor).relative_error, expected[info.tensor]
        assert found.n == 13
        assert found.mean == pytest.approx(values.mean(), rel=1e-5)
        assert found.median == pytest.approx(np.median(values), rel=1e-5)
        assert (found.minimum, found.maximum) == pytest.approx(
            (values.min(), values.max()), rel=1e-5
        )


def test_mvl_is_algorithm_1_on_those_figures(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.mnist_cnn(28, 32))
    x, x_adv = pair((1, 28, 32), 6)
    data, perturbed = stored(tmp_path, x=x), stored(tmp_path, "adv.npz", x=x_adv)
    report = scanned(model, data, perturbed=perturbed, perturbations=(), eta=0.2)
    cm = plain_cm(model, {"x": x}, {"x": x_adv}, ["activations"])
    matrix = np.stack(list(cm.values()), axis=1)
    mu, sigma = matrix.mean(), matrix.std()
    means = {name: values.mean() for name, values in cm.items()}
    listed = [n for n in sorted(means, key=lambda n: -means[n]) if means[n] - mu > 0.2 * sigma]
    assert report.mvl.layers == listed
    assert report.mvl.mu == pytest.approx(mu, rel=1e-5)
    assert report.mvl.sigma == pytest.approx(sigma, rel=1e-5)
    assert report.mvl.threshold == pytest.approx(mu + 0.2 * sigma, rel=1e-5)
    assert report.verdict.status == "layers found"
    assert listed[0] in report.verdict.headline


@pytest.mark.parametrize("data_given", [True, False])
def test_a_report_follows_its_schema(tmp_path: Path, data_given: bool) -> None:
    proto = graphs.conv_net()
    model = saved(tmp_path, proto)
    x = graphs.samples(0, 5, *SHAPE)
    data = stored(tmp_path, x=x, y=classes_of(proto, {"x": x})) if data_given else None
    report = scanned(model, data, samples=5)
    document = json.loads(dumps(report))
    jsonschema.Draft202012Validator(load_schema()).validate(document)
    assert Report.from_dict(document) == report
    noises, attacks = ["gaussian", "salt", "pepper", "speckle"], ["fgsm", "pgd"]
    assert [r.name for r in report.perturbations] == [*noises, *attacks]
    assert [r.kind for r in report.perturbations] == ["noise"] * 4 + ["attack"] * 2
    for found in report.perturbations:
        assert (found.attack is not None) == (found.kind == "attack")
        if found.attack is not None:
            assert found.attack.labels == ("given" if data_given else "predicted")
            assert found.attack.success is not None
            assert (found.attack.robust_accuracy is not None) == data_given


def close(one: LayerScore, other: LayerScore) -> None:
    for name in ("relative_error", "absolute_error", "cosine", "amplification"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.n == second.n
        for figure in ("mean", "std", "median", "minimum", "maximum", "interval", "quantiles"):
            assert getattr(first, figure) == pytest.approx(
                getattr(second, figure), rel=1e-4, abs=1e-6
            )


@pytest.mark.parametrize("build", [graphs.conv_net, graphs.fixed_batch_net])
def test_batches_do_not_change_the_figures(
    tmp_path: Path, build: Callable[[], onnx.ModelProto]
) -> None:
    model = saved(tmp_path, build())
    data = stored(tmp_path, x=graphs.samples(2, 11, *SHAPE))
    one, several = scanned(model, data, batch=11), scanned(model, data, batch=3)
    assert (one.run.batch, several.run.batch) == (11, 3)
    assert one.mvl.layers == several.mvl.layers
    for first, second in zip(one.perturbations, several.perturbations, strict=True):
        assert first.flips == second.flips
        assert first.input_l2.mean == pytest.approx(second.input_l2.mean, rel=1e-9)
        for a, b in zip(first.layers, second.layers, strict=True):
            close(a, b)


def test_the_same_seed_gives_the_same_report_and_another_one_another(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.conv_net())
    data = stored(tmp_path, x=graphs.samples(3, 30, *SHAPE))
    first, again = (scanned(model, data, samples=12, seed=5) for _ in range(2))
    assert comparable(first) == comparable(again)
    other = scanned(model, data, samples=12, seed=6)
    assert other.data.fingerprint != first.data.fingerprint
    assert other.perturbations[0].layers != first.perturbations[0].layers
    assert first.data.samples == 12
    assert first.data.available == 30


def test_clean_and_perturbed_accuracy_count_what_the_model_says(tmp_path: Path) -> None:
    proto = graphs.typed_net("float32")
    x, x_adv = (2 * graphs.samples(seed, 20, 5) - 1 for seed in (1, 9))
    clean, attacked = classes_of(proto, {"x": x}), classes_of(proto, {"x": x_adv})
    labels = clean.copy()
    labels[:5] = (labels[:5] + 1) % 3
    report = scanned(
        saved(tmp_path, proto),
        stored(tmp_path, x=x, y=labels),
        perturbed=stored(tmp_path, "adv.npz", x_adv=x_adv),
        perturbations=("salt=50%",),
        range=(-1.0, 1.0),
        batch=6,
    )
    assert report.accuracy is not None
    assert (report.accuracy.value, report.accuracy.n) == (0.75, 20)
    pairs = result(report, "pairs")
    assert pairs.accuracy is not None
    assert pairs.accuracy.value == pytest.approx((attacked == labels).mean())
    assert pairs.flips == pytest.approx((attacked != clean).mean())
    assert (attacked != clean).any()
    assert report.mvl.perturbation == "pairs"


def test_labels_none_leaves_the_accuracy_out(tmp_path: Path) -> None:
    data = stored(tmp_path, x=graphs.samples(0, 4, *SHAPE), y=np.full(4, 99))
    report = scanned(saved(tmp_path, graphs.conv_net()), data, labels="none")
    assert report.accuracy is None
    assert report.perturbations[0].accuracy is None
    assert report.perturbations[0].flips is not None


CHANNELS = ((0.4, 0.5, 0.3), (0.2, 0.25, 0.5))


@pytest.mark.parametrize(
    ("build", "input_name", "axis"), [(graphs.conv_net, "x", 1), (graphs.nhwc_net, "x:0", 3)]
)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0)])
def test_normalisation_in_the_graph_is_that_of_the_host(
    tmp_path: Path,
    build: Callable[[], onnx.ModelProto],
    input_name: str,
    axis: int,
    low: float,
    high: float,
) -> None:
    proto = build()
    model = saved(tmp_path, proto)
    x, x_adv = pair(input_shape(proto))
    scale = high - low
    report = scanned(
        model,
        stored(tmp_path, x=x * np.float32(scale)),
        perturbed=stored(tmp_path, "adv.npz", x=x_adv * np.float32(scale)),
        perturbations=(),
        range=(low, high),
        mean=CHANNELS[0],
        std=CHANNELS[1],
        layers=("all",),
    )
    shape = [3 if a == axis else 1 for a in range(4)]
    mean, std = (np.asarray(values, np.float32).reshape(shape) for values in CHANNELS)
    feeds, moved = ({input_name: (v - mean) / std} for v in (x, x_adv))
    expected = plain_cm(model, feeds, moved, ["all"])
    for info in report.layers:
        values = score(report, "pairs", info.tensor).relative_error
        assert values.mean == pytest.approx(expected[info.tensor].mean(), rel=1e-4)
    delta = np.linalg.norm((x_adv.astype(np.float64) - x).reshape(13, -1), axis=1) * scale
    # Δx is in units of the declared range, not of the normalised input.
    assert result(report, "pairs").input_l2.mean == pytest.approx(delta.mean(), rel=1e-5)
    assert report.observer.max_relative_difference < 1e-5
    assert any("normalisation" in note for note in report.input.notes)


def test_a_second_input_is_held(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.two_input_net())
    a, a_adv = pair((5,), 9)
    b = graphs.samples(4, 9, 3)
    report = scanned(
        model,
        stored(tmp_path, a=a, b=b),
        perturbed=stored(tmp_path, "adv.npz", x=a_adv),
        perturbations=(),
        layers=("all",),
        batch=4,
    )
    assert (report.input.name, report.input.notes) == ("a", ["'b' is held, not perturbed"])
    expected = plain_cm(model, {"a": a, "b": b}, {"a": a_adv, "b": b}, ["all"])
    for tensor in ("ha", "ra", "both"):
        found = score(report, "pairs", tensor).relative_error
        defined = expected[tensor][np.isfinite(expected[tensor])]
        assert found.n == len(defined) > 5
        assert found.mean == pytest.approx(defined.mean(), rel=1e-5)
    reasons = {item.tensor: item.reason for item in report.not_scored}
    assert "does not depend on 'a'" in reasons["hb"]
    assert "does not depend on 'a'" in reasons["rb"]


def test_a_model_whose_leading_dimension_is_no_batch(tmp_path: Path) -> None:
    weights = {"w": graphs.weight(0, 8, 6), "v": graphs.weight(1, 6, 4)}
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("Relu", ["h"], ["r"]),
        graphs.node("MatMul", ["r", "v"], ["m"]),
        graphs.node("ReduceMean", ["m"], ["y"], axes=[0], keepdims=1),
    ]
    inputs, outputs = [graphs.value("x", [12, 8])], [graphs.value("y", [1, 4])]
    proto = graphs.model(nodes, inputs, outputs, weights, opset=13)
    model = saved(tmp_path, proto)
    x, x_adv = pair((12, 8), 5)
    report = scanned(
        model,
        stored(tmp_path, x=x),
        perturbed=stored(tmp_path, "adv.npz", x=x_adv),
        perturbations=(),
        layers=("r",),
    )
    assert (report.run.batch_mode, report.run.batch) == ("native", 1)
    a, b = (np.maximum(v.astype(np.float64) @ weights["w"], 0) for v in (x, x_adv))
    norms = [np.linalg.norm((v).reshape(5, -1), axis=1) for v in (a - b, a)]
    expected = (norms[0] / norms[1]).mean()
    assert score(report, "pairs", "r").relative_error.mean == pytest.approx(expected, rel=1e-5)


def test_outputs_whose_shape_depends_on_the_sample(tmp_path: Path) -> None:
    """As of a detector that ends in non-maximum suppression."""
    nodes = [
        graphs.node("MatMul", ["x", "w"], ["h"]),
        graphs.node("Relu", ["h"], ["r"]),
        graphs.node("NonZero", ["r"], ["y"]),
    ]
    inputs, outputs = [graphs.value("x", [1, 5])], [graphs.value("y", [2, None], "int64")]
    proto = graphs.model(nodes, inputs, outputs, {"w": graphs.weight(0, 5, 6)})
    model, x = saved(tmp_path, proto), graphs.samples(0, 12, 5)
    assert len({graphs.run(proto, {"x": row[None]})["y"].shape for row in x}) > 1
    report = scanned(model, stored(tmp_path, x=x), batch=5)
    assert report.run.batch_mode == "native"
    assert score(report, "salt", "r").status == "ok"
    assert report.accuracy is None
    assert (report.observer.n, report.observer.max_absolute_difference) == (12, 0.0)


@pytest.mark.parametrize("y", [np.zeros(40, np.int64), np.linspace(-1, 1, 80).reshape(40, 2)])
def test_a_regression_model_has_scores_but_no_accuracy(y: Array, tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.elu_mlp())
    data = stored(tmp_path, x=graphs.samples(0, 40, 2), y=y)
    report = scanned(model, data)
    assert report.accuracy is None
    assert report.perturbations[0].flips is None
    assert report.observer.label_flips is None
    assert [info.tensor for info in report.layers] == ["elu0", "elu1", "elu2"]
    assert all(s.status == "ok" for s in report.perturbations[0].layers)


def test_top_k_lists_so_many_layers(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.elu_mlp())
    report = scanned(model, samples=40, top_k=2)
    assert (report.mvl.rule, report.mvl.top_k, len(report.mvl.layers)) == ("top-k", 2, 2)
    for found in report.perturbations:
        means = {s.tensor: s.relative_error.mean or 0.0 for s in found.layers}
        assert found.mvl.layers == sorted(means, key=lambda tensor: -means[tensor])[:2]
        assert sum(s.stability or 0.0 for s in found.layers) == pytest.approx(2.0)


def test_one_noise_at_two_strengths_gives_two_results(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.conv_net())
    report = scanned(model, samples=8, perturbations=("gaussian", "salt", "gaussian=20%"))
    names = [found.name for found in report.perturbations]
    assert names == ["gaussian=0.1", "salt", "gaussian=0.2"]
    weak, strong = (score(report, names[i], "relu").relative_error.mean for i in (0, 2))
    assert weak is not None
    assert strong is not None
    assert strong > weak


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_inputs_of_any_float_type(tmp_path: Path, dtype: str) -> None:
    model = saved(tmp_path, graphs.typed_net(dtype))
    report = scanned(model, stored(tmp_path, x=graphs.samples(0, 7, 5)), mean=(0.5,), std=(0.25,))
    assert [info.dtype for info in report.layers] == [dtype]
    assert report.observer.max_relative_difference < (1e-2 if dtype == "float16" else 1e-5)


def test_overflow_is_explained_and_never_infinite(tmp_path: Path) -> None:
    weights = {"w": np.full((5, 4), 1e25, np.float32), "v": graphs.weight(1, 4, 3)}
    nodes = [
        graphs.node("Gemm", ["x", "w"], ["h"]),
        graphs.node("Relu", ["h"], ["r"]),
        graphs.node("Gemm", ["r", "v"], ["y"]),
    ]
    inputs, outputs = [graphs.value("x", ["N", 5])], [graphs.value("y", ["N", 3])]
    model = saved(tmp_path, graphs.model(nodes, inputs, outputs, weights))
    report = scanned(model, stored(tmp_path, x=graphs.samples(0, 6, 5) * 0.5 + 0.5))
    found = score(report, "salt", "r")
    assert (found.status, found.nonfinite_samples) == ("not finite", 6)
    assert found.reason == "6 samples gave NaN or infinity"
    assert report.mvl.mu is None
    assert report.verdict.status == "no layer stands out"
    assert "undefined for all 1 layer" in report.verdict.headline
    json.loads(dumps(report), parse_constant=pytest.fail)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_samples_are_enough_to_run(tmp_path: Path, n: int) -> None:
    report = scanned(
        saved(tmp_path, graphs.conv_net()), stored(tmp_path, x=graphs.samples(0, n, *SHAPE))
    )
    found = score(report, "salt", "relu").relative_error
    assert found.n == n
    assert (found.interval is None) == (n == 1)


def test_layers_that_score_nothing_say_why(tmp_path: Path) -> None:
    nodes = [graphs.node("ArgMax", ["x"], ["y"], axis=1)]
    proto = graphs.model(
        nodes, [graphs.value("x", ["N", 6])], [graphs.value("y", ["N", 1], "int64")]
    )
    report = scanned(saved(tmp_path, proto), samples=5)
    assert report.layers == []
    assert report.verdict.status == "nothing scored"
    assert (report.mvl.layers, report.mvl.mu) == ([], None)
    assert [item.tensor for item in report.not_scored] == ["y"]
    jsonschema.Draft202012Validator(load_schema()).validate(report.to_dict())


def test_the_report_says_how_the_model_was_run(tmp_path: Path) -> None:
    report = scanned(
        saved(tmp_path, graphs.conv_net()), samples=9, batch=4, seed=3, command=("lsa-onnx", "scan")
    )
    run = report.run
    assert (run.seed, run.device, run.batch, run.batch_mode) == (3, "cpu", 4, "free")
    assert run.command == ["lsa-onnx", "scan"]
    assert run.seconds > 0
    assert dataclasses.asdict(report.data)["synthetic"] is True
