"""Whole searches: what trains on what, what goes on after a kill, what is tried once, what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError, ModelError
from lsa_trainer.hardening import harden
from lsa_trainer.hardening import run as hardening
from lsa_trainer.options import HardenOptions
from lsa_trainer.training import loop
from lsa_trainer.training.stepper import TrainingFailed
from lsa_trainer.tuning import Tuning, trial
from lsa_trainer.tuning.page import page
from tests import binary_models, graphs
from tests.trainer import fragile
from tests.trainer.small_runs import Recorder
from tests.trainer.tuned_nets import HELD_OUT, SAMPLES, prepared, rows, tuned


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return prepared(tmp_path)


def scores(tuning: Tuning) -> dict[str, Any]:
    return {t.name: (t.chosen, t.options, t.by_seed) for t in tuning.trials}


@pytest.mark.slow
def test_samples_that_train_choose_or_score_are_others(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[bytes], set[bytes]]] = []

    def train(job: Any, material: Any, *rest: Any, **named: Any) -> Any:
        parts = (material.training, material.validation)
        seen.append(tuple({row.numpy().tobytes() for row in part.x} for part in parts))  # type: ignore[arg-type]
        return loop.train(job, material, *rest, **named)

    monkeypatch.setattr(hardening, "train", train)
    tuned(place, trials=2, seeds=(3, 4))
    scoring = set(rows(place / "study" / "validation.npz"))
    for_trials = set(rows(place / "study" / "train.npz"))
    every = set(rows(place / "train.npz"))
    assert (len(scoring), len(for_trials), len(every)) == (HELD_OUT, SAMPLES - HELD_OUT, SAMPLES)
    assert scoring | for_trials == every
    assert len(seen) == 4
    for training, choosing in seen:
        assert training | choosing <= for_trials
        assert not training & choosing
        assert len(choosing) == 16
    # Every class scores, in the shares of the whole: 34, 33 and 33 of 100.
    with np.load(place / "study" / "validation.npz") as arrays:
        assert sorted(np.bincount(arrays["y"])) == [6, 7, 7]


@pytest.mark.slow
def test_several_seeds_make_a_mean_and_a_spread(place: Path) -> None:
    found = tuned(place, trials=2, seeds=(3, 4), search=("share",))
    for each in found.trials:
        assert len(each.by_seed) == 2
        assert each.score == pytest.approx(np.mean(each.by_seed))
        assert each.spread == pytest.approx(np.std(each.by_seed, ddof=1))
    assert found.seeds == [3, 4]
    assert "| seeds ± |" in page(found)
    assert not any("one seed" in note for note in found.notes)


@pytest.mark.slow
def test_the_r_and_g_score(place: Path) -> None:
    found = tuned(place, trials=2, score="rg", eps_list=("0", "0.05", "0.1"))
    path = place / "study" / "trial-plain" / "seed-0" / "evaluation.json"
    summary = json.loads(path.read_bytes())["summaries"][0]
    assert found.trials[0].score == pytest.approx(summary["r_and_g"])
    assert 100 <= found.original <= 300
    assert found.eps == ["0", "0.05", "0.1"]


class Killed(Recorder):
    """Ends the process at the third training, as a signal would."""

    def __init__(self) -> None:
        super().__init__()
        self.trainings = 0

    def training(self, total: int, done: int) -> None:
        self.trainings += 1

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        if self.trainings == 3:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_killed_search_goes_on(place: Path, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = tuned(prepared(tmp_path / "whole"), trials=3)
    with pytest.raises(KeyboardInterrupt):
        tuned(place, trials=3, listener=Killed())
    done = sorted(path.parent.name for path in place.glob("study/trial-*/trial.json"))
    assert done == ["trial-001", "trial-plain"]
    told = Recorder()
    found = tuned(place, trials=3, listener=told)
    assert scores(found) == scores(whole)
    assert sum(line.startswith("trial 002") for line in told.said) == 1
    assert sum(line.startswith("trial 001") for line in told.said) == 0


@pytest.mark.slow
def test_a_setting_is_trained_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def counted(model: Any, target: Path, options: HardenOptions, **named: Any) -> Any:
        trained.append(options.gamma)
        return harden(model, target, options, **named)

    monkeypatch.setattr(trial, "harden", counted)
    # The model has one layer, so every set of layers is that one.
    found = tuned(place, trials=4, search=("layers", "eta"), given={"gamma": "1"})
    assert trained == ["0", "1"]
    assert [t.name for t in found.trials][1:] == ["001"]
    assert found.notes[0].startswith("2 of 4 trials were not made")


@pytest.mark.slow
def test_a_trial_that_fails_is_kept_and_the_search_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def failing(model: Any, target: Path, options: HardenOptions, **named: Any) -> Any:
        calls.append(options.gamma)
        if len(calls) == 2:
            raise TrainingFailed("the loss is NaN at step 7; lower --lr")
        return harden(model, target, options, **named)

    monkeypatch.setattr(trial, "harden", failing)
    found = tuned(place, trials=3)
    failed = found.trial("001")
    assert (failed.reason, failed.score) == ("the loss is NaN at step 7; lower --lr", None)
    assert failed.chosen == {"gamma": calls[1]}
    assert found.trial("002").score is not None
    assert any(
        note.startswith("1 of 3 trials failed, such as 001: the loss") for note in found.notes
    )
    assert "the loss is NaN at step 7" in page(found)
    # It is not tried again.
    tuned(place, trials=3)
    assert len(calls) == 3


@pytest.mark.slow
def test_a_search_of_which_nothing_succeeds(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise TrainingFailed("the loss is NaN")

    monkeypatch.setattr(trial, "harden", failing)
    with pytest.raises(DataError, match="none of 2 trials succeeded; the first: the loss is NaN"):
        tuned(place, trials=2)


@pytest.mark.slow
def test_the_term_is_told_from_what_else_was_searched(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Plain training gets nothing right at the end, so the other trial is the best.
    real = trial.points
    monkeypatch.setattr(
        trial, "points", lambda e, s: real(e, s) * (0 if "trial-plain" in e.model.file.path else 1)
    )
    found = tuned(place, trials=2, search=("gamma", "eps"), given={"lr": 0.2, "epochs": 3})
    best = found.trial(found.best)
    without = found.trial("001-without")
    assert without.options == {"eps": found.trial("001").options["eps"], "gamma": "0", "mvl": []}
    assert without.layers == {}
    assert found.gain is not None
    assert found.gain.value == pytest.approx(best.score)
    if best.name == "001":
        assert found.term_gain is not None
        assert found.term_gain.over == "001-without"


@pytest.mark.slow
def test_time_that_is_up_leaves_plain_training(place: Path) -> None:
    found = tuned(place, trials=4, timeout=1e-6)
    assert [t.name for t in found.trials] == ["plain"]
    assert found.best == "plain"
    assert found.config["gamma"] == "0"
    assert "3 of 4 trials were not made" in found.notes[0]


@pytest.mark.slow
def test_fresh_starts_anew_and_leaves_other_files(place: Path) -> None:
    tuned(place, trials=2)
    (place / "study" / "notes.txt").write_text("mine")
    found = tuned(place, trials=2, search=("share",), given={"fresh": True})
    assert found.search == ["share"]
    assert (place / "study" / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_labels_that_are_not_given_are_the_original_answers(place: Path) -> None:
    arrays = fragile.data(SAMPLES)
    fragile.save_data(place / "train.npz", {"x": arrays["x"]})
    found = tuned(place, trials=2)
    with np.load(place / "study" / "validation.npz") as saved:
        wanted = {row.tobytes(): label for row, label in zip(arrays["x"], arrays["y"], strict=True)}
        assert [wanted[row.tobytes()] for row in saved["x"]] == saved["y"].tolist()
    assert found.original < 0.2


def test_a_model_without_classes_is_refused(place: Path) -> None:
    with pytest.raises(ModelError, match="predicts no classes, so its trials"):
        tuned(place, given={"decision": "none", "labels": "none"})


@pytest.mark.slow
def test_a_report_of_another_model_is_refused(place: Path, tmp_path: Path) -> None:
    tuned(place, trials=2)
    scanned = place / "study" / "scan.json"
    weights = fragile.mlp()
    weights.graph.doc_string = "another"
    graphs.save(weights, place / "model.onnx")
    (place / "report.json").write_bytes(scanned.read_bytes())
    given = {"report": place / "report.json", "fresh": True}
    with pytest.raises(DataError, match="is of a model with SHA-256"):
        tuned(place, trials=2, given=given)


@pytest.mark.slow
def test_two_classes_of_one_score(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((SAMPLES, 2)).astype(np.float32)
    y = (binary_models.logits(x) > 0).astype(np.int64)
    graphs.save(binary_models.scorer(), tmp_path / "model.onnx")
    fragile.save_data(tmp_path / "train.npz", {"x": x, "y": y})
    found = tuned(tmp_path, given={"decision": "binary"}, trials=3, search=("gamma", "layers"))
    assert 0.3 < found.original < 1
    assert [trial.reason for trial in found.trials] == [None, None, None]
    assert found.trial("001").clean is not None
    assert found.config["decision"] == "binary"
