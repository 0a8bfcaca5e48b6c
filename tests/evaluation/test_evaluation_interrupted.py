"""What is left of an evaluation that was interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsa_onnx.comparing import Side, compare
from lsa_onnx.errors import DataError, EvaluationInterrupted
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.report import read_evaluation, write_json
from lsa_onnx.report.document import Partial
from lsa_onnx.scanning import Listener
from tests.scanning.helpers import at_distance, saved, separated, separated_labels, stored

STRENGTHS = ("0", "0.1", "0.2", "0.4")


class Impatient(Listener):
    """Interrupts when a stage begins."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def begin(self, stage: str, total: int) -> None:
        if stage == self._stage:
            raise KeyboardInterrupt


@pytest.fixture
def options(tmp_path: Path) -> EvaluationOptions:
    saved(tmp_path, separated())
    data = stored(tmp_path, x=at_distance(), y=separated_labels())
    return EvaluationOptions(
        data=data, device="cpu", attacks=("fgsm", "pgd"), eps_list=STRENGTHS, steps=5
    )


def test_what_was_done_is_kept(tmp_path: Path, options: EvaluationOptions) -> None:
    model = tmp_path / "model.onnx"
    with pytest.raises(EvaluationInterrupted) as stopped:
        evaluate(model, options, Impatient("pgd eps 0.2"))
    found, whole = stopped.value.evaluation, evaluate(model, options)
    # All of FGSM, and PGD up to the strength under way.
    assert [(each.attack, each.eps_text) for each in found.results] == [
        *(("fgsm", text) for text in STRENGTHS),
        ("pgd", "0"),
        ("pgd", "0.1"),
    ]
    for one, other in zip(found.results, whole.results, strict=False):
        assert one.right == other.right
    # Half a curve has no score to compare.
    assert [each.attack for each in found.summaries] == ["fgsm"]
    assert found.partial == Partial("interrupted", None, 0, 9, ["pgd at eps 0.2", "pgd at eps 0.4"])
    assert found.warnings[0].code == "partial"
    assert whole.partial is None
    write_json(found, tmp_path / "partial.json")
    assert read_evaluation(tmp_path / "partial.json").partial == found.partial


@pytest.mark.parametrize("stage", ["clean", "fgsm gradients", "fgsm eps 0.1"])
def test_before_an_attack_is_done_there_is_nothing(
    tmp_path: Path, options: EvaluationOptions, stage: str
) -> None:
    with pytest.raises(KeyboardInterrupt) as stopped:
        evaluate(tmp_path / "model.onnx", options, Impatient(stage))
    assert not isinstance(stopped.value, EvaluationInterrupted)


def test_what_ended_early_is_not_compared(tmp_path: Path, options: EvaluationOptions) -> None:
    model = tmp_path / "model.onnx"
    with pytest.raises(EvaluationInterrupted) as stopped:
        evaluate(model, options, Impatient("pgd eps 0.2"))
    found, whole = stopped.value.evaluation, evaluate(model, options)
    with pytest.raises(DataError, match="the second is of an evaluation that ended early"):
        compare(Side(whole, "whole.json"), Side(found, "partial.json"))
