"""What a run says of itself before it begins is what its document says after."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.report.conditions import Conditions, conditions_of
from lsa_onnx.scanning import Listener, ScanOptions, scan
from tests import graphs


class Kept(Listener):
    """Remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.conditions: list[Conditions] = []
        self.classes: list[np.ndarray] = []

    def planned(self, conditions: Conditions) -> None:
        self.told.append("planned")
        self.conditions.append(conditions)

    def predicted(self, classes: np.ndarray) -> None:
        self.classes.append(classes)

    def message(self, text: str) -> None:
        self.told.append(text)


class Refusing(Listener):
    """Has no use for any run."""

    def planned(self, conditions: Conditions) -> None:
        raise DataError(f"no use for {len(conditions.applied)} perturbations")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return graphs.save(graphs.conv_net(), tmp_path / "net.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = graphs.samples(0, 12, 3, 5, 7)
    np.savez(tmp_path / "data.npz", x=x, y=graphs.run(graphs.conv_net(), {"x": x})["y"].argmax(1))
    return tmp_path / "data.npz"


def comparable(conditions: Conditions) -> Conditions:
    """Without what only a run finds out: the rounding of each layer."""
    layers = [dataclasses.replace(each, numerical_floor=None) for each in conditions.layers]
    return dataclasses.replace(conditions, layers=tuple(layers), settled=True)


def test_of_a_scan(model: Path, data: Path) -> None:
    kept = Kept()
    asked = ("gaussian", "gaussian=20%", "fgsm=4/255", "pgd")
    options = ScanOptions(data=data, perturbations=asked, perturbed=data, device="cpu")
    report = scan(model, options, kept)
    (planned,) = kept.conditions
    assert not planned.settled
    assert comparable(planned) == comparable(conditions_of(report))
    assert [(each.name, each.strength) for each in planned.applied] == [
        ("gaussian", 0.1),
        ("gaussian", 0.2),
        ("fgsm", pytest.approx(4 / 255)),
        ("pgd", pytest.approx(8 / 255)),
        ("pairs", None),
    ]
    (classes,) = kept.classes
    with np.load(data) as arrays:
        assert classes.tolist() == arrays["y"].tolist()


def test_of_an_evaluation(model: Path) -> None:
    kept = Kept()
    options = EvaluationOptions(
        attacks=("pgd", "fgsm"), eps_list=("0", "10%"), samples=6, range=(-1.0, 1.0), device="cpu"
    )
    found = evaluate(model, options, kept)
    (planned,) = kept.conditions
    assert comparable(planned) == comparable(conditions_of(found))
    assert [(each.name, each.strength) for each in planned.applied] == [
        ("pgd", 0),
        ("pgd", 0.2),
        ("fgsm", 0),
        ("fgsm", 0.2),
    ]
    # Whoever has no use for the run hears nothing but its own reason.
    assert kept.told[0] == "planned"


def test_who_has_no_use_for_a_run_ends_it(model: Path) -> None:
    options = ScanOptions(samples=4, perturbations=("salt", "pepper"), device="cpu")
    with pytest.raises(DataError, match="no use for 2 perturbations"):
        scan(model, options, Refusing())
