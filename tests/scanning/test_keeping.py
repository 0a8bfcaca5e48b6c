"""Adversarial inputs in an npz: complete, in one order, within eps, and of use to other commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from tests import graphs
from tests.scanning.helpers import (
    Array,
    at_distance,
    classes_of,
    result,
    saved,
    scanned,
    separated,
    separated_labels,
    stored,
)

SHAPE = (3, 5, 7)
QUICK: dict[str, Any] = {"steps": 3, "eps": "0.1"}


def loaded(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("samples", [None, 6])
def test_what_was_attacked_is_read_back(
    tmp_path: Path, samples: int | None, batch: int | None
) -> None:
    proto, x = graphs.conv_net(), graphs.samples(0, 11, *SHAPE)
    y = classes_of(proto, {"x": x})
    y[:3] = (y[:3] + 1) % 6
    kept = tmp_path / "adv.npz"
    report = scanned(
        saved(tmp_path, proto),
        stored(tmp_path, x=x, y=y),
        perturbations=("pgd",),
        samples=samples,
        batch=batch,
        save_adversarial=kept,
        **QUICK,
    )
    found = loaded(kept)
    assert sorted(found) == ["index", "predicted", "x", "x_adv", "y"]
    n = samples or 11
    assert sorted(set(found["index"].tolist())) == sorted(found["index"].tolist())
    assert len(found["index"]) == n
    np.testing.assert_array_equal(found["x"], x[found["index"]])
    np.testing.assert_array_equal(found["y"], y[found["index"]])
    delta = found["x_adv"].astype(np.float64) - found["x"]
    assert found["x_adv"].dtype == np.float32
    assert np.abs(delta).max() == pytest.approx(0.1, rel=1e-5)
    assert (found["x_adv"].min(), found["x_adv"].max()) == (0, 1)
    # What it is said to predict is what a fresh run of the file predicts.
    np.testing.assert_array_equal(found["predicted"], classes_of(proto, {"x": found["x_adv"]}))
    accuracy = result(report, "pgd").accuracy
    assert accuracy is not None
    assert accuracy.value == pytest.approx((found["predicted"] == found["y"]).mean())


def test_a_second_input_called_x_is_not_what_was_perturbed(tmp_path: Path) -> None:
    weights = {"p": np.array([[1, 0], [0, 1]], np.float32)}
    nodes = [graphs.node("Sub", ["z", "x"], ["d"]), graphs.node("MatMul", ["d", "p"], ["y"])]
    ends = [graphs.value("x", ["N", 2]), graphs.value("z", ["N", 2])], [graphs.value("y", ["N", 2])]
    model = saved(tmp_path, graphs.model(nodes, *ends, weights))
    z, kept = graphs.samples(0, 11, 2), tmp_path / "adv.npz"
    data = stored(tmp_path, x=np.full((11, 2), 0.5, np.float32), z=z)
    scanned(model, data, perturb="z", perturbations=("pgd",), save_adversarial=kept, **QUICK)
    found = loaded(kept)
    assert "x" not in found
    np.testing.assert_array_equal(found["z"], z[found["index"]])


def test_several_attacks_have_arrays_of_their_own(tmp_path: Path) -> None:
    proto, kept = graphs.conv_net(), tmp_path / "adv.npz"
    scanned(
        saved(tmp_path, proto),
        stored(tmp_path, x=graphs.samples(0, 5, *SHAPE)),
        perturbations=("salt", "fgsm", "pgd=0.05", "pgd=20%"),
        save_adversarial=kept,
        **QUICK,
    )
    found = loaded(kept)
    names = ("fgsm", "pgd=0.05", "pgd=20%")
    made = {f"{kind}_{name}" for kind in ("x_adv", "predicted") for name in names}
    assert set(found) == {"index", "x", *made}
    for name, eps in zip(names, (0.1, 0.05, 0.2), strict=True):
        x_adv = found[f"x_adv_{name}"]
        assert np.abs(x_adv.astype(np.float64) - found["x"]).max() == pytest.approx(eps, rel=1e-5)
        expected = classes_of(proto, {"x": x_adv})
        np.testing.assert_array_equal(found[f"predicted_{name}"], expected)


def test_values_are_in_the_declared_range_and_not_normalised(tmp_path: Path) -> None:
    x, kept = graphs.samples(0, 4, *SHAPE) * 255, tmp_path / "adv.npz"
    scanned(
        saved(tmp_path, graphs.conv_net()),
        stored(tmp_path, x=x),
        perturbations=("fgsm",),
        range=(0.0, 255.0),
        mean=(0.4, 0.5, 0.3),
        std=(0.2, 0.25, 0.5),
        eps="8/255",
        save_adversarial=kept,
    )
    found = loaded(kept)
    np.testing.assert_array_equal(found["x"], x[found["index"]])
    assert np.abs(found["x_adv"] - found["x"]).max() == pytest.approx(8, rel=1e-5)


def test_a_model_without_classes_predicts_none(tmp_path: Path) -> None:
    kept = tmp_path / "adv.npz"
    scanned(
        saved(tmp_path, graphs.elu_mlp()),
        samples=4,
        perturbations=("pgd",),
        save_adversarial=kept,
        **QUICK,
    )
    assert sorted(loaded(kept)) == ["index", "x", "x_adv"]


def test_a_saved_file_is_scored_as_pairs(tmp_path: Path) -> None:
    """The scan of the pairs says of them what the scan that made them said."""
    model, kept = saved(tmp_path, separated()), tmp_path / "adv.npz"
    data = stored(tmp_path, x=at_distance(), y=separated_labels())
    first = scanned(model, data, perturbations=("pgd",), eps="0.22", steps=3, save_adversarial=kept)
    second = scanned(model, kept, perturbed=kept, perturbations=(), seed=7)
    attack, pairs = result(first, "pgd"), result(second, "pairs")
    assert (pairs.accuracy, pairs.flips) == (attack.accuracy, attack.flips)
    assert second.accuracy == first.accuracy
    assert pairs.input_linf.maximum == pytest.approx(0.22, rel=1e-5)
    for one, other in zip(attack.layers, pairs.layers, strict=True):
        assert one.relative_error.mean == pytest.approx(other.relative_error.mean, rel=1e-6)


def test_an_evaluation_keeps_every_eps_but_0(tmp_path: Path) -> None:
    kept = tmp_path / "adv.npz"
    evaluation = evaluate(
        saved(tmp_path, separated()),
        EvaluationOptions(
            data=stored(tmp_path, x=at_distance(), y=separated_labels()),
            device="cpu",
            attacks=("fgsm",),
            eps_list=("0", "0.12", "0.22"),
            save_adversarial=kept,
            batch=4,
        ),
    )
    found = loaded(kept)
    assert set(found) == {
        "x", "y", "index", "x_adv_fgsm=0.12", "x_adv_fgsm=0.22",
        "predicted_fgsm=0.12", "predicted_fgsm=0.22",
    }  # fmt: skip
    for record in evaluation.results[1:]:
        right = found[f"predicted_fgsm={record.eps_text}"] == found["y"]
        assert record.correct == right.sum()


def test_without_an_attack_there_is_nothing_to_keep(tmp_path: Path) -> None:
    model, kept = saved(tmp_path, separated()), tmp_path / "adv.npz"
    with pytest.raises(
        DataError, match=r"adv\.npz' has nothing to save: .* give an attack such as"
    ):
        scanned(model, samples=4, perturbations=("salt",), save_adversarial=kept)
    with pytest.raises(DataError, match=r"nothing to save: .* and an eps above 0"):
        evaluate(
            model,
            EvaluationOptions(samples=4, device="cpu", eps_list=("0",), save_adversarial=kept),
        )
    assert not kept.exists()


@pytest.mark.parametrize("stage", ["attack", "write"])
def test_a_failure_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    kept = tmp_path / "adv.npz"
    kept.write_bytes(b"earlier")
    model = saved(tmp_path, separated())

    def fails(*_: object) -> None:
        raise OSError(28, "no space")

    if stage == "write":
        monkeypatch.setattr(os, "fsync", fails)
        expected: tuple[type[Exception], str] = (DataError, r"adv\.npz': the disk is full")
    else:
        monkeypatch.setattr("lsa_onnx.accounts.ledger.Ledger.add", fails)
        expected = (OSError, "no space")
    with pytest.raises(expected[0], match=expected[1]):
        scanned(model, samples=4, perturbations=("pgd",), save_adversarial=kept, **QUICK)
    assert kept.read_bytes() == b"earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"adv.npz", "model.onnx"}
