"""What is drawn next: each setting once, alike after a kill, and shared by processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from lsa_trainer.options import HardenOptions
from lsa_trainer.tuning.claims import RECORD, locked, place
from lsa_trainer.tuning.document import Trial, write_trial
from lsa_trainer.tuning.proposals import Claimed, Search
from lsa_trainer.tuning.space import Space
from tests.trainer.tuned_nets import ranking

OPTIONS = HardenOptions(data=Path("train.npz"))


def search(folder: Path, *names: str, trials: int = 8) -> Search:
    return Search(folder, Space(OPTIONS, names or ("gamma",), ranking()), trials, seed=5)


def near_one(claimed: Claimed) -> float:
    """Best at γ = 1."""
    return -abs(math.log(float(claimed.setting.changes["gamma"])))


def finish(of: Search, folder: Path, claimed: Claimed, score: float | None) -> None:
    """As a trial does it: first the record, then the score."""
    setting = claimed.setting
    reason = "it failed" if score is None else None
    trial = Trial(
        claimed.name, "searched", setting.chosen, setting.changes, {}, reason, score, None, [], None, None, 0.0
    )  # fmt: skip
    write_trial(trial, place(folder, claimed.name) / RECORD)
    of.finish(claimed, score)


def run(of: Search, folder: Path, score: Callable[[Claimed], float | None]) -> list[Claimed]:
    """All that is left to draw."""
    found = []
    while (claimed := of.next()) is not None:
        finish(of, folder, claimed, score(claimed))
        found.append(claimed)
    return found


@pytest.mark.slow
def test_a_search_that_goes_on_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    whole.mkdir()
    parted.mkdir()
    wanted = run(search(whole), whole, near_one)
    assert [claimed.name for claimed in wanted] == [f"{i:03d}" for i in range(1, 9)]
    drawn = []
    for _ in range(8):
        of = search(parted)
        claimed = of.next()
        assert claimed is not None
        drawn.append(claimed.setting)
        finish(of, parted, claimed, near_one(claimed))
    assert drawn == [claimed.setting for claimed in wanted]
    assert search(parted).next() is None


def test_more_trials_may_be_asked_for_later(tmp_path: Path) -> None:
    first = run(search(tmp_path, trials=2), tmp_path, near_one)
    more = run(search(tmp_path, trials=5), tmp_path, near_one)
    assert [claimed.name for claimed in (*first, *more)] == ["001", "002", "003", "004", "005"]
    assert len({claimed.setting.changes["gamma"] for claimed in (*first, *more)}) == 5


@pytest.mark.slow
def test_what_is_drawn_again_is_not_tried_again(tmp_path: Path) -> None:
    # Growth 1 is layer b, and the MVL list is layer a: of seven sets, five are different.
    drawn = run(search(tmp_path, "layers"), tmp_path, lambda _: 0.5)
    sets = [tuple(sorted(claimed.setting.changes["mvl"])) for claimed in drawn]
    assert len(sets) == len(set(sets)) == 5
    assert search(tmp_path, "layers").next() is None


def test_a_setting_that_failed_is_not_drawn_again(tmp_path: Path) -> None:
    drawn = run(search(tmp_path, "detach_clean"), tmp_path, lambda _: None)
    assert [claimed.setting.changes["detach_clean"] for claimed in drawn] in (
        [True, False],
        [False, True],
    )


def test_what_a_killed_process_left_is_next(tmp_path: Path) -> None:
    of = search(tmp_path)
    left = of.next()
    assert left is not None
    other = search(tmp_path).next()
    assert other is not None
    assert (left.name, other.name) == ("001", "002")
    # A kill gives up the lock and nothing else.
    left.lock.release()
    taken = search(tmp_path).next()
    assert taken is not None
    assert (taken.name, taken.setting) == (left.name, left.setting)


def test_what_was_killed_before_it_began_is_given_up(tmp_path: Path) -> None:
    of = search(tmp_path)
    claimed = of.next()
    assert claimed is not None
    claimed.lock.release()
    (place(tmp_path, claimed.name) / "setting.json").unlink()
    following = search(tmp_path).next()
    assert following is not None
    assert following.name == "002"


def test_processes_share_the_number_of_trials(tmp_path: Path) -> None:
    one, other = search(tmp_path, trials=3), search(tmp_path, trials=3)
    claimed = [one.next(), other.next(), one.next()]
    assert [each.name for each in claimed if each is not None] == ["001", "002", "003"]
    assert other.next() is None
    assert locked(place(tmp_path, "002")) is None


@pytest.mark.slow
def test_the_search_finds_what_is_best(tmp_path: Path) -> None:
    drawn = run(search(tmp_path, trials=30), tmp_path, near_one)
    first, last = drawn[:10], drawn[-10:]
    assert max(map(near_one, drawn)) > -0.5
    assert sum(map(near_one, last)) > sum(map(near_one, first))


@pytest.mark.slow
def test_what_mattered(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    of = search(tmp_path, "gamma", "detach_clean", trials=12)
    assert of.importance() == {}
    run(of, tmp_path, near_one)
    found = of.importance()
    assert list(found) == ["gamma", "detach_clean"]
    assert found["gamma"] > 0.5
    assert sum(found.values()) == pytest.approx(1)
    # Optuna would tell of each trial, and that its journal may change.
    assert capfd.readouterr() == ("", "")
