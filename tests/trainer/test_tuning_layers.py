"""MVL lists by hand, for every η, and the other sets of layers."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.mvl import most_vulnerable_layers
from lsa_onnx.report.document import Report
from lsa_onnx.scanning import ScanOptions, scan
from lsa_trainer.tuning.layers import Ranking
from tests import graphs
from tests.trainer import fragile
from tests.trainer.tuned_nets import ranking


def test_the_list_at_eta_by_hand() -> None:
    # CM − μ is .2, 0 and −.2; η σ is .2 η.
    of = ranking()
    assert of.mvl(0.0) == ("a",)
    assert of.mvl(0.99) == ("a",)
    # Nothing exceeds μ + σ, so the layer that moves most stands in.
    assert of.mvl(1.0) == ("a",)
    assert of.mvl(2.0) == ("a",)
    assert of.mvl(-0.5) == ("a", "b")


def test_one_eta_for_each_list() -> None:
    # Layers leave at η = 2.5, 1.5 and 0.5: the lists on 0..2 are ab, a.
    means = {"a": 0.9, "b": 0.7, "c": 0.5, "d": 0.1}
    of = ranking(means=means, mu=0.4, sigma=0.2)
    assert of.etas() == [0.25, 1.0, 1.75]
    assert [of.mvl(eta) for eta in of.etas()] == [("a", "b", "c"), ("a", "b"), ("a",)]
    assert ranking(sigma=0.0).etas() == [0.0]


def test_lists_that_two_decimals_cannot_tell_apart_have_longer_etas() -> None:
    means = {"a": 0.9, "b": 0.4 + 0.2 * 1.0011, "c": 0.4 + 0.2 * 1.0049}
    of = ranking(means=dict(sorted(means.items(), key=lambda m: -m[1])), mu=0.4, sigma=0.2)
    lists = [of.mvl(eta) for eta in of.etas()]
    assert lists == [("a", "c", "b"), ("a", "c"), ("a",)]


def test_other_sets() -> None:
    assert ranking().sets() == {
        "alone": {"layer a": ("a",), "layer b": ("b",), "layer c": ("c",)},
        "growth": {"growth 1": ("b",), "growth 2": ("b", "a"), "growth 3": ("b", "a", "c")},
    }
    many = {f"l{i}": 1.0 - i / 100 for i in range(40)}
    sets = ranking(means=many, growth=dict(list(many.items())[:6])).sets()
    assert list(sets["growth"]) == ["growth 1", "growth 2", "growth 3", "growth 5"]
    assert len(sets["alone"]) == 12
    assert list(ranking(growth={}).sets()) == ["alone"]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000), st.floats(0, 2))
def test_lists_are_those_of_algorithm_1(layers: int, seed: int, eta: float) -> None:
    cm = np.random.default_rng(seed).random((7, layers))
    found = most_vulnerable_layers(cm, eta)
    names = {i: str(i) for i in range(layers)}
    means = {names[i]: float(found.means[i]) for i in np.argsort(-found.means)}
    of = ranking(means=means, growth={}, mu=found.mu, sigma=found.sigma, listed=())
    wanted = tuple(names[i] for i in found.layers) or tuple(means)[:1]
    assert of.mvl(eta) == wanted
    assert len({of.mvl(e) for e in of.etas()}) == len(of.etas())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("scanned")
    data = fragile.save_data(folder / "train.npz", fragile.data(60))
    model = graphs.save(fragile.mlp(), folder / "model.onnx")
    how = ScanOptions(data=data, eps="0.1", perturbations=("gaussian", "pgd"), device="cpu")
    return scan(model, dataclasses.replace(how, layers=("all",)))


def test_a_report_says_the_same(report: Report) -> None:
    of = Ranking.of(report)
    assert of.perturbation == report.mvl.perturbation == "pgd"
    assert of.mvl(report.mvl.eta) == tuple(report.mvl.layers) == of.listed
    assert list(of.means.values()) == sorted(of.means.values(), reverse=True)
    scores = {s.tensor: s for s in report.perturbations[-1].layers}
    assert of.growth == {n: scores[n].growth for n in of.growth}
    assert len(of.means) > 1


def test_layers_that_training_cannot_read_are_left_out(report: Report) -> None:
    values = report.to_dict()
    for info in values["layers"]:
        info["body"] = "loop_0/body"
    with pytest.raises(DataError, match=r"scored no layer that can be regularised.*--mvl$"):
        Ranking.of(Report.from_dict(json.loads(json.dumps(values))))
