"""What ``auto`` broke stays broken: it is not attacked again, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.attacks import Auto, Batch
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.evaluation.gathering import attacked_at_once, full_batches
from lsa_onnx.evaluation.summaries import minimal_eps
from lsa_onnx.inputs.dataset import select
from lsa_onnx.report import Evaluation
from tests import graphs
from tests.scanning.helpers import (
    AWAY,
    at_distance,
    classes_of,
    saved,
    separated,
    separated_labels,
    stored,
)

EPS = ("0", "0.04", "0.12", "0.22", "0.33", "0.45")
# Of the samples of ``separated``, as they lie in the file: the first strength above their distance.
BREAKS = [0.12, 0.12, 0.22, 0.22, 0.33, 0.33, 0.45, 0.45, 0.0]


def linear(folder: Path, **given: Any) -> Evaluation:
    data = stored(folder, x=at_distance(), y=separated_labels())
    options: dict[str, Any] = {"steps": 1, "eps_list": EPS, "device": "cpu", **given}
    return evaluate(saved(folder, separated()), EvaluationOptions(data=data, **options))


@pytest.mark.parametrize("attack", ["auto", "pgd"])
def test_of_a_linear_model_everything_is_known(tmp_path: Path, attack: str) -> None:
    found = linear(tmp_path, attacks=(attack,), batch=4)
    (summary,) = found.summaries
    order, _ = select(len(AWAY), None, 0, "")
    assert summary.minimal_eps == [BREAKS[at] for at in order]
    assert (summary.attack, summary.norm, summary.eps) == (attack, "linf", list(map(float, EPS)))
    assert summary.r_and_g == pytest.approx(100 * (8 + 8 + 6 + 4 + 2 + 0) / 9)
    low, high = summary.interval
    assert low < summary.r_and_g < high
    for record in found.results:
        expected = [BREAKS[at] > record.eps for at in order]
        assert found.correct_at(attack, record.eps).tolist() == expected
        assert record.right.count("1") == record.correct
    assert found.scores(attack).sum() == 28


def test_some_samples_never_break(tmp_path: Path) -> None:
    found = linear(tmp_path, attacks=("fgsm",), eps_list=("0", "0.22"))
    (summary,) = found.summaries
    assert sorted(summary.minimal_eps, key=str) == [0.0, 0.22, 0.22, 0.22, 0.22, *[None] * 4]


def test_without_the_clean_accuracy_there_is_no_summary(tmp_path: Path) -> None:
    """A program may ask for one strength alone; the command line may not."""
    found = linear(tmp_path, eps_list=("0.12",))
    assert (len(found.results), found.summaries) == (1, [])


def test_a_curve_need_not_be_monotone() -> None:
    right = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [1, 0, 1, 1]], bool)
    assert minimal_eps([0.0, 0.1, 0.2], right) == [0.1, 0.2, 0.0, None]


class Watch:
    """Writes down which samples an attack was given, by strength."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[float, list[list[int]]] = {}
        search = Auto.search

        def watched(attack: Auto, batch: Batch, *rest: Any) -> Any:
            self.seen.setdefault(attack.eps, []).append(batch.positions.tolist())
            return search(attack, batch, *rest)

        monkeypatch.setattr(Auto, "search", watched)


def test_only_what_is_still_right_is_attacked_in_full_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    linear(tmp_path, attacks=("auto",), batch=3)
    order, _ = select(len(AWAY), None, 0, "")
    for at, eps in enumerate(map(float, EPS[1:]), start=1):
        left = [p for p, sample in enumerate(order) if BREAKS[sample] > float(EPS[at - 1])]
        batches = watch.seen[eps]
        assert [p for batch in batches for p in batch] == left
        assert {len(batch) for batch in batches[:-1]} <= {3}
    assert 0.0 not in watch.seen


def curved(folder: Path) -> tuple[Path, Path]:
    x = graphs.samples(0, 14, 3, 5, 7)
    y = classes_of(graphs.conv_net(), {"x": x})
    y[:3] = (y[:3] + 1) % 6
    return saved(folder, graphs.conv_net()), stored(folder, x=x, y=y)


def test_the_batch_does_not_matter_nor_that_others_are_left_out(tmp_path: Path) -> None:
    model, data = curved(tmp_path)
    common: dict[str, Any] = {"data": data, "attacks": ("auto",), "steps": 1, "device": "cpu"}
    kept, files = [], []
    for batch in (None, 5):
        files.append(tmp_path / f"{batch}.npz")
        options = EvaluationOptions(
            eps_list=("0", "0.02", "0.06"), batch=batch, save_adversarial=files[-1], **common
        )
        kept.append(evaluate(model, options))
    right = [[record.right for record in found.results] for found in kept]
    assert right[0] == right[1]
    assert "0" in right[0][1]
    with np.load(files[0]) as first, np.load(files[1]) as other:
        for name in ("x_adv_auto=0.02", "x_adv_auto=0.06"):
            np.testing.assert_allclose(other[name], first[name], atol=1e-6)
    # Attacked at the larger strength alone, the samples that are left get the same numbers.
    alone = evaluate(model, EvaluationOptions(eps_list=("0", "0.06"), **common))
    carried = np.array(list(kept[0].results[1].right)) == "1"
    once = alone.correct_at("auto", 0.06)
    np.testing.assert_array_equal(kept[0].correct_at("auto", 0.06)[carried], once[carried])
    assert not kept[0].correct_at("auto", 0.06)[~carried].any()


def test_what_is_kept_of_a_carried_sample_is_what_broke_it(tmp_path: Path) -> None:
    kept = tmp_path / "adv.npz"
    found = linear(
        tmp_path, attacks=("auto",), eps_list=("0", "0.12", "0.33"), save_adversarial=kept
    )
    with np.load(kept) as saved_inputs:
        weak, strong = saved_inputs["x_adv_auto=0.12"], saved_inputs["x_adv_auto=0.33"]
        for record in found.results[1:]:
            name = f"predicted_auto={record.eps_text}"
            right = saved_inputs[name] == saved_inputs["y"]
            assert "".join("01"[int(each)] for each in right) == record.right
        clean = saved_inputs["x"]
    broken = ~found.correct_at("auto", 0.12)
    np.testing.assert_array_equal(strong[broken], weak[broken])
    wrong = ~found.correct_at("auto", 0.0)
    assert wrong.sum() == 1
    np.testing.assert_array_equal(strong[wrong], clean[wrong])
    assert np.abs(strong - clean).max() == pytest.approx(0.33, rel=1e-5)


def test_counts_and_rates_are_of_all_samples(tmp_path: Path) -> None:
    found = linear(tmp_path, attacks=("auto",))
    for record in found.results:
        assert (record.n, record.correct + record.broken) == (9, 8)
        assert record.success_rate == record.broken / 8


class Numbers:
    """A data source whose samples are their own positions."""

    def __init__(self, count: int) -> None:
        self.subject = self
        self.count = count
        self.reads: list[tuple[int, int]] = []

    def feeds(self, start: int, stop: int) -> tuple[dict[str, Any], None]:
        assert stop <= self.count
        self.reads.append((start, stop))
        x = np.arange(start, stop, dtype=np.float32)[:, None]
        return {"x": x, "other": -x}, None

    def batch(self, _: Auto, start: int, feeds: dict[str, Any]) -> Batch:
        x = feeds["x"]
        return Batch(x, x[:, 0].astype(int), start, 0.0, 99.0, goal={"labels": x[:, 0]})


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4, 5, 6], [1, 2, 5, 11, 12, 13, 19], [7]])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_scattered_samples_are_gathered_with_all_that_is_theirs(
    places: list[int], size: int
) -> None:
    source: Any = Numbers(20)
    found = list(full_batches(source, Auto(eps=0.1), np.array(places), size))
    assert [len(each.batch.x) for each in found[:-1]] == [size] * (len(found) - 1)
    assert [p for each in found for p in each.batch.positions.tolist()] == places
    for each in found:
        batch = each.batch
        assert batch.start == batch.positions[0]
        for values in (
            batch.x[:, 0],
            batch.labels,
            batch.goal["labels"],
            -each.feeds["other"][:, 0],
        ):
            np.testing.assert_array_equal(values, batch.positions)
    assert all(stop - start <= size for start, stop in source.reads)


def test_small_samples_are_attacked_by_the_thousand_and_images_by_the_batch() -> None:
    assert attacked_at_once(8, 256) > 10_000
    assert attacked_at_once(3 * 224 * 224 * 4, 64) == 64
