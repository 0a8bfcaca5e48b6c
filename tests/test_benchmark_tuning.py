"""The page of searches, from documents whose figures are made up."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from benchmarks.tuning import RESULT, page
from lsa_trainer.tuning import Tuning, write_tuning
from lsa_trainer.tuning.document import Gain, Role, Trial


def trial(name: str, score: float | None, role: Role = "searched", **chosen: Any) -> Trial:
    return Trial(
        name=name, role=role, chosen=chosen, options={k: str(v) for k, v in chosen.items()}, layers={}, reason=None,
        score=score, interval=None, by_seed=[], spread=None, clean=0.95, seconds=1.0,
    )  # fmt: skip


def tuning(*trials: Trial, best: str, gain: Gain | None) -> Tuning:
    return Tuning(
        tool_version="0", created="", model="m", model_sha256="", data="", score="rg", attack="apgd-ce", steps=20,
        norm="linf", eps=["0", "0.1"], search=["gamma"], seeds=[0], training_samples=4000, scoring_samples=1000,
        original=0.0, trials=list(trials), best=best, gain=gain, term_gain=None, importance={}, notes=[], config={},
        folder="", command=[], seconds=1.0,
    )  # fmt: skip


def keep(work: Path, name: str, found: Tuning) -> None:
    (work / name).mkdir()
    write_tuning(found, work / name / RESULT)


def test_a_search_for_gamma_has_a_line_and_all_its_trials(tmp_path: Path) -> None:
    found = tuning(
        trial("plain", 150.0, "plain"), trial("001", 155.04, gamma="8"), trial("002", 140.0, gamma="0.5"),
        best="001", gain=Gain("001", "plain", 5.04, (2.0, 8.0), (-1.0, 11.0)),
    )  # fmt: skip
    keep(tmp_path, "moon-at-pgd-L2", found)
    lines = list(page(tmp_path))
    assert (
        "| at-pgd | L2 | 150.0 | 8 | 155.0 | +5.0 [+2.0, +8.0] | [-1.0, +11.0] | 95.0 → 95.0 |"
        in lines
    )
    assert "- at-pgd, L2: 0.5: 140.0, 8: 155.0" in lines


def test_where_plain_training_is_best_there_is_no_gamma(tmp_path: Path) -> None:
    found = tuning(trial("plain", 150.0, "plain"), trial("001", None, gamma="8"), best="plain", gain=None)  # fmt: skip
    keep(tmp_path, "moon-at-fgsm-L0", found)
    lines = list(page(tmp_path))
    assert "| at-fgsm | L0 | 150.0 | – | 150.0 | – |  | 95.0 → 95.0 |" in lines
    assert "- at-fgsm, L0: " in lines, "the trial that failed has no score to show"


def test_a_larger_eps_is_told_in_units_of_the_data(tmp_path: Path) -> None:
    found = tuning(
        trial("plain", 150.0, "plain"), trial("001", 160.0, eps="0.48"), best="001", gain=None
    )
    keep(tmp_path, "moon-at-pgd-eps", found)
    lines = list(page(tmp_path))
    assert lines[-2:] == ["| 0.4 | 150.0 | 95.0 |", "| 0.48 | 160.0 | 95.0 |"]


def test_accuracies_are_told_in_percent(tmp_path: Path) -> None:
    found = dataclasses.replace(
        tuning(
            trial("plain", 0.5, "plain"), trial("001", 0.625, layers="mvl"),
            best="001", gain=Gain("001", "plain", 0.125, (0.1, 0.15), None),
        ),
        score="robust", eps=["0.4"],
    )  # fmt: skip
    keep(tmp_path, "mnist-layers", found)
    text = "\n".join(page(tmp_path))
    assert "## MNIST: share, layers" in text
    assert "| layers mvl | 62.5 | 95.0 |\n| plain | 50.0 | 95.0 |" in text
    assert "The best gains +12.5 [+10.0, +15.0], for all trials –." in text


def test_a_search_that_finds_nothing_says_so(tmp_path: Path) -> None:
    found = dataclasses.replace(
        tuning(trial("plain", 0.5, "plain"), trial("001", 0.4, inner="kl"), best="plain", gain=None),
        score="robust", eps=["0.4"],
    )  # fmt: skip
    keep(tmp_path, "mnist-objective", found)
    text = "\n".join(page(tmp_path))
    assert "ε = 0.4, γ = auto:0.02 on the MVL list, 4 epochs" in text
    assert "2 trials. None beats plain training." in text
