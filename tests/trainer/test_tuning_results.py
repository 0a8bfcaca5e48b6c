"""What a search leaves behind: trials, scores, documents, a page, and a configuration."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from lsa_onnx.errors import DataError
from lsa_onnx.files import read_regular
from lsa_trainer.options import HardenOptions
from lsa_trainer.tuning import (
    Tuning,
    print_tuning,
    read_tuning,
    trial,
    words,
    write_best,
    write_tuning,
)
from lsa_trainer.tuning.document import Gain
from lsa_trainer.tuning.page import page
from tests.trainer.small_runs import Recorder
from tests.trainer.tuned_nets import HELD_OUT, SAMPLES, options, prepared, tuned

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuning, Recorder]:
    folder, told = prepared(tmp_path_factory.mktemp("studied")), Recorder()
    return folder, tuned(folder, listener=told, trials=2), told


def test_plain_training_comes_first_and_the_best_is_told(
    studied: tuple[Path, Tuning, Recorder],
) -> None:
    _, found, told = studied
    assert [t.name for t in found.trials] == ["plain", "001"]
    assert found.trials[0].options == {"gamma": "0", "mvl": []}
    assert found.trials[0].layers == {}
    assert {t.layers["r"] for t in found.trials[1:]} == {
        float(t.options["gamma"]) for t in found.trials[1:]
    }
    best = found.trial(found.best)
    assert best.score == max(t.score or 0 for t in found.trials)
    assert (found.gain is None) == (found.best == "plain")
    assert (found.training_samples, found.scoring_samples) == (SAMPLES - HELD_OUT, HELD_OUT)
    assert found.statement == "chosen on 20 held-out training samples, never on test data"
    lines = [line for line in told.said if line.startswith("trial ")]
    assert [line.split(":")[0] for line in lines] == [f"trial {t.name}" for t in found.trials]


def test_scores_are_those_of_an_evaluation(studied: tuple[Path, Tuning, Recorder]) -> None:
    folder, found, _ = studied
    for each in found.trials:
        path = folder / "study" / f"trial-{each.name}" / "seed-0" / "evaluation.json"
        evaluation = json.loads(path.read_bytes())
        (result,) = evaluation["results"]
        assert (result["attack"], result["eps_text"], result["n"]) == ("pgd", "0.1", HELD_OUT)
        assert each.clean == evaluation["clean_accuracy"]
        assert each.score is not None
        assert each.interval is not None
        assert each.score == result["correct"] / HELD_OUT
        assert each.interval[0] <= each.score <= each.interval[1]


def test_the_same_call_again_trains_nothing(
    studied: tuple[Path, Tuning, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found, _ = studied
    monkeypatch.setattr(trial, "harden", None)
    again = tuned(folder, trials=2)
    assert again.trials == found.trials
    assert (again.best, again.gain, again.importance) == (found.best, found.gain, found.importance)


def test_another_search_does_not_go_into_its_folder(
    studied: tuple[Path, Tuning, Recorder],
) -> None:
    folder = studied[0]
    before = read_regular(folder / "study" / "train.npz")
    with pytest.raises(DataError, match=r"holds a search with eps '0.1', and this one has '0.2'"):
        tuned(folder, given={"eps": "0.2"}, trials=2)
    with pytest.raises(DataError, match=r"a search with search \['gamma'\], and .*\['share'\]"):
        tuned(folder, trials=2, search=("share",))
    assert read_regular(folder / "study" / "train.npz") == before


def test_documents_come_back(studied: tuple[Path, Tuning, Recorder], tmp_path: Path) -> None:
    folder, found, _ = studied
    write_tuning(found, tmp_path / "t.json")
    assert read_tuning(tmp_path / "t.json") == found
    assert read_tuning(folder / "study" / "trials.json").trials == found.trials
    values = json.loads((tmp_path / "t.json").read_bytes())
    assert values["kind"] == "tuning"
    del values["best"]
    (tmp_path / "t.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"not a tuning: missing field 'best'"):
        read_tuning(tmp_path / "t.json")
    (tmp_path / "t.json").write_text('{"kind": "hardening"}')
    with pytest.raises(DataError, match="kind 'hardening'"):
        read_tuning(tmp_path / "t.json")


def test_the_page_holds_every_trial(studied: tuple[Path, Tuning, Recorder]) -> None:
    found = studied[1]
    text = page(found)
    assert found.statement in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 1 + len(found.trials)
    assert len({line.count("|") for line in table}) == 1
    assert f"| **{found.best}** |" in text
    assert "robust accuracy under pgd of 3 steps, linf, eps 0.1" in text


def test_the_best_is_a_configuration_of_harden(
    studied: tuple[Path, Tuning, Recorder], tmp_path: Path
) -> None:
    folder, found, _ = studied
    write_best(found, tmp_path / "best.toml")
    text = (tmp_path / "best.toml").read_text("utf-8")
    assert text.startswith(f"# trial {found.best} of a search with lsa-onnx ")
    assert found.statement in text
    given = HardenOptions.from_record(tomllib.loads(text))
    wanted = dataclasses.replace(options(folder / "train.npz"), **found.trial(found.best).options)
    assert dataclasses.replace(given, data=wanted.data) == wanted
    assert given.data == (folder / "train.npz").absolute()


def test_words_say_what_holds_and_what_does_not(studied: tuple[Path, Tuning, Recorder]) -> None:
    found = studied[1]
    plain, other = found.trials
    gain = Gain("001", "plain", 0.02, (0.01, 0.03), (0.005, 0.035))
    leading = dataclasses.replace(found, best="001", gain=gain, importance={"gamma": 1.0})
    told = words.verdict(leading)
    assert told == (
        "Trial 001 beats plain adversarial training: +2.0 points (+1.0 to +3.0) against plain adversarial training."
    )
    assert "Bounds that hold for all trials at once: +0.5 to +3.5." in words.remarks(leading)[0]
    assert "of 1 trials alone, so only a hint" in page(leading)
    lucky = dataclasses.replace(gain, among_all=(-0.005, 0.045))
    assert "not by more than chance" in words.verdict(dataclasses.replace(leading, gain=lucky))
    same = dataclasses.replace(found, best="plain", gain=None)
    assert words.verdict(same).startswith(
        "Nothing beat plain adversarial training: it is the best of 2"
    )
    failed = dataclasses.replace(plain, reason="NaN", score=None, interval=None)
    alone = dataclasses.replace(found, best="001", gain=None, trials=[failed, other])
    assert "training failed" in words.verdict(alone)
    assert "is not finished" in words.verdict(dataclasses.replace(alone, trials=[other]))
    without = dataclasses.replace(other, role="without the term")
    bare = dataclasses.replace(leading, trials=[plain, without])
    assert words.remarks(bare)[-1].startswith("The best has no layer-wise term")


def test_what_is_told_at_a_terminal(studied: tuple[Path, Tuning, Recorder]) -> None:
    found, stream = studied[1], io.StringIO()
    print_tuning(found, Console(file=stream, width=100))
    told = stream.getvalue()
    assert told.startswith(words.verdict(found)[:40])
    assert "plain adversarial training (gamma 0)" in told
    assert f"the model as it is: {found.original:.1%}".replace("%", " %") in told
    assert found.statement in told
