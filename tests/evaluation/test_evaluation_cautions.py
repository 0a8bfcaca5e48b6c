"""What an evaluation says against itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.accounts.attack_checks import Attempt
from lsa_onnx.accounts.cautions import FEW_SAMPLES
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.evaluation.cautions import evaluation_cautions
from lsa_onnx.report.document import Accuracy, ReportWarning
from tests import graphs
from tests.report.parts import data_section
from tests.scanning.helpers import at_distance, saved, separated, separated_labels, stored


def raised(**changes: Any) -> list[str]:
    """The codes for a sound evaluation with these changes."""
    sound: dict[str, Any] = {
        "data": dataclasses.replace(data_section(), samples=FEW_SAMPLES),
        "accuracy": Accuracy(0.9, 100, (0.83, 0.94)),
        "classes": 10,
        "width": 1.0,
        "series": [[attempt("fgsm", 0.1, 20), attempt("fgsm", 0.2, 40)]],
        "doubts": [],
        "repeatable": True,
    }
    found = evaluation_cautions(**{**sound, **changes})
    assert not [warning for warning in found if "\n" in warning.message]
    return [warning.code for warning in found]


def attempt(name: str, eps: float, broken: int, **more: Any) -> Attempt:
    return Attempt(name, name, "linf", eps, name != "square", 90, broken, 100, **more)


def test_a_sound_evaluation_says_nothing() -> None:
    assert raised() == []


def test_data_and_clean_run_come_first() -> None:
    doubt = ReportWarning("large-eps", "pgd may change a value by 0.3")
    codes = raised(
        data=dataclasses.replace(data_section(), synthetic=True),
        accuracy=Accuracy(0.1, 100, (0.05, 0.17)),
        repeatable=False,
        doubts=[doubt],
        series=[[attempt("pgd", 0.1, 20, flat=0.5)]],
    )
    assert codes == [
        "synthetic-data",
        "accuracy-near-chance",
        "random-outputs",
        "large-eps",
        "zero-gradient",
    ]


def test_attacks_are_compared_at_each_strength() -> None:
    fgsm = [attempt("fgsm", 0.1, 20), attempt("fgsm", 0.2, 40)]
    assert raised(series=[fgsm, [attempt("pgd", 0.1, 30), attempt("pgd", 0.2, 50)]]) == []
    weak = [attempt("pgd", 0.1, 20), attempt("pgd", 0.2, 30)]
    assert raised(series=[fgsm, weak]) == ["iterative-weaker"]
    blind = [attempt("square", 0.1, 20), attempt("square", 0.2, 45)]
    assert raised(series=[fgsm, blind]) == ["black-box-stronger"]


def test_every_curve_is_looked_at_and_each_code_comes_once() -> None:
    rising = [attempt("pgd", 0.1, 40), attempt("pgd", 0.5, 20)]
    assert raised(series=[rising, rising]) == ["accuracy-rises-with-eps", "large-eps-not-chance"]
    assert raised(series=[rising], classes=None) == ["accuracy-rises-with-eps"]
    assert raised(series=[rising], width=255.0) == ["accuracy-rises-with-eps"]


def codes_of(model: Path, data: Path, **given: Any) -> set[str]:
    options = EvaluationOptions(data=data, device="cpu", **{"steps": 3, **given})
    return {warning.code for warning in evaluate(model, options).warnings}


@pytest.mark.parametrize(
    ("scale", "eps", "expected"),
    [
        (1.0, "0.1", set()),
        (1e4, "0.1", {"vanishing-gradient"}),
        (1.0, "0.3", {"large-eps"}),
    ],
)
def test_what_real_runs_raise(tmp_path: Path, scale: float, eps: str, expected: set[str]) -> None:
    away = np.repeat([0.1, -0.2, 0.3, -0.4], 9)
    data = stored(tmp_path, x=at_distance(away), y=separated_labels(away))
    model = saved(tmp_path, separated(scale=scale))
    assert codes_of(model, data, eps_list=("0", eps)) == expected


def masked() -> onnx.ModelProto:
    """``separated`` with scores that are cut at ±0.1: flat but for a strip along the boundary."""
    proto = separated()
    proto.graph.node[0].output[0] = "z"
    proto.graph.node.append(graphs.node("Clip", ["z", "low", "high"], ["y"], name="cut"))
    for name, bound in (("low", -0.1), ("high", 0.1)):
        tensor = onnx.numpy_helper.from_array(np.asarray(bound, np.float32), name)
        proto.graph.initializer.append(tensor)
    return proto


def test_a_masked_gradient_shows_at_a_large_eps(tmp_path: Path) -> None:
    away = np.repeat([0.3, -0.3], 18)
    data = stored(tmp_path, x=at_distance(away), y=(away > 0).astype(np.int64))
    model, eps = saved(tmp_path, masked()), ("0", "0.6")
    codes = codes_of(model, data, attacks=("fgsm",), eps_list=eps)
    assert codes == {"zero-gradient", "large-eps", "large-eps-not-chance"}
    # Whoever does not look at the gradient breaks half of the samples at once.
    codes = codes_of(model, data, attacks=("fgsm", "square"), eps_list=eps, steps=60)
    assert "black-box-stronger" in codes
