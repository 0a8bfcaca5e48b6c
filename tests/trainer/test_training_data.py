"""Samples in memory as the subject gives them, disjoint parts, and batches that follow from the step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_onnx.scanning.options import SubjectOptions
from lsa_onnx.scanning.subject import Subject, open_subject
from lsa_trainer.training import data as module
from lsa_trainer.training.data import Batches, Split, TrainingSet, split
from tests import graphs

SAMPLES = 11


def subject(folder: Path, *, labels: bool = True, held: bool = True) -> Subject:
    """Images of 2×3×4, scaled to 0..1 from bytes, with an integer for each."""
    inputs = [graphs.value("x", ["N", 2, 3, 4]), graphs.value("c", ["N", 1], "int64")]
    nodes = [
        graphs.node("Flatten", ["x"], ["flat"]),
        graphs.node("Cast", ["c"], ["cost"], to=1),
        graphs.node("Add", ["flat", "cost"], ["y"]),
    ]
    proto = graphs.model(nodes, inputs, [graphs.value("y", ["N", 24])])
    model = graphs.save(proto, folder / "model.onnx")
    numbers = np.random.default_rng(0)
    arrays: dict[str, Any] = {"x": numbers.integers(0, 256, (SAMPLES, 2, 3, 4), np.uint8)}
    arrays |= {"y": numbers.integers(0, 24, SAMPLES)} if labels else {}
    arrays |= {"c": np.arange(SAMPLES, dtype=np.int32)[:, None]} if held else {}
    np.savez(folder / "data.npz", **arrays)
    hold = () if held else ("c=5",)
    return open_subject(str(model), SubjectOptions(data=folder / "data.npz", hold=hold))


@pytest.mark.parametrize("piece", [1, 1 << 24, 3 * (96 + 8)])
def test_loads_what_the_subject_gives_whatever_the_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(module, "_PIECE_BYTES", piece)
    opened = subject(tmp_path)
    loaded = TrainingSet.of(opened)
    feeds, labels = opened.feeds(0, SAMPLES)
    assert len(loaded) == SAMPLES
    assert loaded.y is not None
    assert (loaded.x.dtype, loaded.y.dtype) == (torch.float32, torch.int64)
    np.testing.assert_array_equal(loaded.x.numpy(), feeds["x"])
    np.testing.assert_array_equal(loaded.y.numpy(), labels)
    assert list(loaded.extra) == ["c"]
    assert loaded.extra["c"].dtype == torch.int64
    np.testing.assert_array_equal(loaded.extra["c"].numpy(), feeds["c"])


def test_loads_what_has_no_labels_and_values_that_are_held(tmp_path: Path) -> None:
    loaded = TrainingSet.of(subject(tmp_path, labels=False, held=False))
    assert loaded.y is None
    assert torch.equal(loaded.extra["c"], torch.full((SAMPLES, 1), 5))


def test_rows_are_copies_in_the_order_asked_for(tmp_path: Path) -> None:
    loaded = TrainingSet.of(subject(tmp_path))
    index = torch.tensor([4, 0, 4])
    part = loaded.rows(index)
    assert loaded.y is not None
    assert part.y is not None
    assert torch.equal(part.x, torch.stack([loaded.x[4], loaded.x[0], loaded.x[4]]))
    assert part.y.tolist() == [int(loaded.y[i]) for i in (4, 0, 4)]
    assert torch.equal(part.extra["c"], loaded.extra["c"][index])
    before = loaded.x.clone()
    part.x.zero_()
    assert torch.equal(loaded.x, before)


def test_says_how_many_samples_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = subject(tmp_path)
    row = 2 * 3 * 4 * 4 + 8
    monkeypatch.setattr(module, "free_bytes", lambda device: 10 * row)
    with pytest.raises(DataError, match=r"11 samples of .*data\.npz.*\(cpu\); give --samples 8 or"):
        TrainingSet.of(opened)
    monkeypatch.setattr(module, "free_bytes", lambda device: 1 + round(SAMPLES * row / 0.8))
    assert len(TrainingSet.of(opened)) == SAMPLES
    monkeypatch.setattr(module, "free_bytes", lambda device: None)
    assert len(TrainingSet.of(opened)) == SAMPLES


def test_one_line_where_memory_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator:\nnot enough memory")

    opened = subject(tmp_path)
    monkeypatch.setattr(torch, "empty", refused)
    with pytest.raises(
        DataError, match=r"11 samples of .* do not fit into memory \(cpu\)"
    ) as caught:
        TrainingSet.of(opened)
    assert "\n" not in str(caught.value)


def parts_of(chosen: Split) -> list[Tensor]:
    return [chosen.training, chosen.validation, chosen.verification]


@given(
    st.integers(1, 300), st.integers(0, 2**32 - 1), st.floats(0, 0.6), st.floats(0, 0.6), st.data()
)
@settings(max_examples=60, deadline=None)
def test_parts_are_disjoint_and_together_everything(
    count: int, seed: int, validation: float, verification: float, data: st.DataObject
) -> None:
    classes = data.draw(st.none() | st.integers(1, 5))
    labels = None if classes is None else torch.arange(count) * 7 % classes
    sizes = [max(round(count * s), int(s > 0)) for s in (validation, verification)]
    if sum(sizes) >= count:
        with pytest.raises(DataError, match=f"leave none of {count} to train on"):
            split(count, seed, validation, verification, labels)
        return
    parts = parts_of(split(count, seed, validation, verification, labels))
    assert [len(part) for part in parts] == [count - sum(sizes), *sizes]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(count))
    assert all(torch.equal(part, part.sort().values) for part in parts)


def test_each_class_gives_its_share() -> None:
    labels = torch.tensor([0] * 50 + [3] * 30 + [7] * 20)[torch.randperm(100)]
    chosen = split(100, 4, 0.2, 0.1, labels)
    counts = [[int((labels[p] == k).sum()) for k in (0, 3, 7)] for p in parts_of(chosen)]
    for found, share in zip(counts, (0.7, 0.2, 0.1), strict=True):
        assert np.abs(np.array(found) - share * np.array([50, 30, 20])).max() <= 1


def test_split_follows_from_the_seed() -> None:
    first, same, other = (split(200, seed, 0.2, 0.1) for seed in (1, 1, 2))
    pairs = zip(parts_of(first), parts_of(same), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.validation, other.validation)
    # By chance a tenth of the verification samples of another seed would be in the first, too.
    assert len(set(first.verification.tolist()) & set(other.verification.tolist())) < 10
    assert abs(float(first.validation.double().mean()) - 99.5) < 4.5 * 57.7 / 40**0.5


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_refuses_shares_that_are_none(share: float) -> None:
    with pytest.raises(DataError, match=f"validation share of {share} is not usable"):
        split(10, 0, share, 0.1)
    with pytest.raises(DataError, match=f"verification share of {share} is not usable"):
        split(10, 0, 0.1, share)


@given(st.integers(1, 90), st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_an_epoch_shows_each_sample_once_and_processes_share_it(
    count: int, share: int, world: int, seed: int
) -> None:
    if count < world:
        return
    batch = share * world
    single = [b for b in range(count + 1) if b % world == 0 and b <= min(batch, count)][-1]
    ranks = [Batches(count, batch, seed, rank, world) for rank in range(world)]
    alone = Batches(count, single, seed)
    assert {r.size for r in ranks} == {alone.size} == {single}
    for epoch in (0, 3):
        parts = [list(r.of_epoch(epoch)) for r in ranks]
        assert all(len(part) == count // single for part in parts)
        joined = [torch.cat(shares) for shares in zip(*parts, strict=True)]
        for own, expected in zip(joined, alone.of_epoch(epoch), strict=True):
            assert torch.equal(own, expected)
        seen = torch.cat(joined).tolist()
        assert len(set(seen)) == len(seen) == count // single * single
        assert set(seen) <= set(range(count))


def test_any_step_can_be_had_without_those_before() -> None:
    batches = Batches(25, 4, seed=3)
    assert (batches.size, batches.per_epoch) == (4, 6)
    in_order = [batch for epoch in range(3) for batch in batches.of_epoch(epoch)]
    for step in (17, 0, 6, 5, 12):
        fresh = Batches(25, 4, seed=3)
        assert torch.equal(fresh.batch_at(step), in_order[step])
        assert fresh.epoch_of(step) == step // 6


def test_epochs_and_seeds_differ() -> None:
    orders = [
        torch.cat(list(Batches(60, 10, seed).of_epoch(epoch))).tolist()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert all(sorted(order) == list(range(60)) for order in orders)


def test_what_is_left_over_differs_between_epochs() -> None:
    batches = Batches(11, 4, seed=0)
    left = {
        index
        for epoch in range(30)
        for index in set(range(11)) - set(torch.cat(list(batches.of_epoch(epoch))).tolist())
    }
    assert left == set(range(11))


def test_every_order_is_as_likely() -> None:
    """χ² of the 24 orders of four samples over 2400 epochs: mean 23, standard deviation 6.8."""
    orders = [tuple(Batches(4, 4, 1).batch_at(epoch).tolist()) for epoch in range(2400)]
    seen = np.array([orders.count(order) for order in set(orders)])
    assert len(seen) == 24
    assert float(((seen - 100) ** 2 / 100).sum()) < 23 + 4.5 * 6.8


def test_a_small_dataset_is_one_batch() -> None:
    assert (Batches(5, 128, 0).size, Batches(5, 128, 0).per_epoch) == (5, 1)
    parts = [Batches(5, 128, 0, rank, 2).batch_at(9) for rank in (0, 1)]
    assert [len(part) for part in parts] == [2, 2]


def test_a_batch_is_the_callers_own() -> None:
    batches = Batches(6, 3, 0)
    expected = batches.batch_at(1).clone()
    batches.batch_at(1).zero_()
    assert torch.equal(batches.batch_at(1), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 0, 0), "batch of 0 is not usable"),
        (
            (10, 7, 0, 1, 2),
            "batch of 7 cannot be shared evenly by 2 processes; give a multiple of 2",
        ),
        ((3, 8, 0, 0, 4), "3 samples to train on cannot be shared by 4 processes.*at most 3 proc"),
    ],
)
def test_refuses_batches_that_cannot_be(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Batches(*arguments)


def test_a_rank_outside_its_world_is_a_defect() -> None:
    with pytest.raises(ValueError, match="rank 2 is not among 2 processes"):
        Batches(10, 4, 0, 2, 2)
