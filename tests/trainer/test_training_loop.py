"""AT-LR from the first step to the best weights, on models that train in milliseconds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_trainer.objectives import BASES
from lsa_trainer.training.minibatches import Material
from lsa_trainer.training.validation import Scores
from tests.trainer.small_runs import (
    CLASSES,
    FEATURES,
    IMAGES,
    Recorder,
    assert_equal,
    blobs,
    cnn,
    job,
    material,
    mlp,
    options,
    run,
    scored,
    weights,
)


def test_it_learns_to_resist(tmp_path: Path) -> None:
    module, seen = mlp(), Recorder()
    trained = run(
        job(module, ["1"]), tmp_path, options(epochs=20, validate_every=10), listener=seen
    )
    assert trained.before.robust < 0.5
    assert trained.best.robust > 0.9
    assert trained.best.clean > 0.95
    assert trained.steps == 60
    first, last = (sum(s["loss"] for s in part) for part in (seen.steps[:6], seen.steps[-6:]))
    assert last < 0.5 * first
    assert trained.gammas == seen.gammas == {"1": 0.2}
    for values in seen.steps:
        assert values["loss"] == pytest.approx(values["base"] + values["regulariser"], rel=1e-5)
        assert values["regulariser"] == pytest.approx(0.2 * values["cm"]["1"], rel=1e-5)
        assert 0 <= values["robust"] <= 1


@pytest.mark.usefixtures("rising")
@pytest.mark.parametrize("base", BASES)
def test_every_base_trains_with_and_without_the_term(base: str, tmp_path: Path) -> None:
    found = {}
    for name, layers, gamma in (("plain", [], "0.2"), ("none", ["1"], "0"), ("term", ["1"], "2")):
        module, seen = mlp(), Recorder()
        how = options(base=base, gamma=gamma)
        run(job(module, layers), tmp_path / name, how, listener=seen)
        assert not torch.equal(weights(module)["0.weight"], weights(mlp())["0.weight"])
        assert all(("cm" in values) == (name == "term") for values in seen.steps)
        found[name] = weights(module)
    assert_equal(found["plain"], found["none"])
    assert not torch.equal(found["plain"]["0.weight"], found["term"]["0.weight"])


@pytest.mark.parametrize(
    ("gamma", "power", "share"), [("auto", 1, 0.1), ("auto:0.5", 1, 0.5), ("auto:0.5", 2, 0.5)]
)
def test_gamma_auto_makes_the_term_a_share_of_the_base_loss(
    gamma: str, power: int, share: float, tmp_path: Path
) -> None:
    seen = Recorder()
    how = options(gamma=gamma, lr_power=power, eps_warmup=0.0, lr=1e-9)
    trained = run(job(mlp(), ["0", "1"]), tmp_path, how, listener=seen)
    means = {key: sum(s[key] for s in seen.steps[:3]) / 3 for key in ("base", "regulariser")}
    assert means["regulariser"] == pytest.approx(share * means["base"], rel=0.1)
    parts = [trained.gammas[n] * seen.steps[0]["cm"][n] ** power for n in ("0", "1")]
    assert parts[0] == pytest.approx(parts[1], rel=0.2)


def test_the_best_weights_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = mlp()
    seen = Recorder(module)
    scored(monkeypatch, [(1, 0.1, 0.1), (1, 0.2, 0.2), (1, 0.6, 0.6), (1, 0.5, 0.5)])
    trained = run(job(module), tmp_path, options(epochs=4), listener=seen)
    assert trained.best_step == 6
    assert trained.best == Scores(1, 0.6, 0.6)
    assert [entry["step"] for entry in trained.history] == [0, 3, 6, 9, 12]
    assert_equal(weights(module), seen.weights[5])


@pytest.mark.parametrize("ema", [0.0, 0.4])
def test_the_last_weights_stay_where_they_are_asked_for(
    ema: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = mlp()
    seen = Recorder(module)
    # The last validation is a collapse, and there is nothing to go on with at the end.
    scored(monkeypatch, [(1, 0.5, 0.5), (1, 0.6, 0.6), (0.1, 0.9, 0.1)])
    how = options(keep="last", ema=ema, eps_warmup=0.0)
    trained = run(job(module), tmp_path, how, listener=seen)
    assert (trained.best_step, trained.best, trained.notes) == (6, Scores(0.1, 0.9, 0.1), [])
    is_last = torch.equal(weights(module)["0.weight"], seen.weights[-1]["0.weight"])
    assert is_last == (ema == 0), "the average where one is kept"
    assert not torch.equal(weights(module)["0.weight"], seen.weights[2]["0.weight"])


def test_what_costs_too_much_clean_accuracy_is_not_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = mlp()
    original = weights(module)
    scored(monkeypatch, [(0.9, 0.1, 0.1), (0.84, 0.8, 0.8), (0.84, 0.9, 0.9)])
    trained = run(job(module), tmp_path, options(max_clean_drop=0.05))
    assert trained.best_step == 0
    assert trained.best == trained.before
    assert_equal(weights(module), original)


def test_the_average_of_weights_is_what_is_scored_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = mlp()
    average = weights(module)
    seen = Recorder(module)
    scored(monkeypatch, [(1, 0.1, 0.1), (1, 0.2, 0.2), (1, 0.3, 0.3)])
    run(job(module), tmp_path, options(ema=0.4), listener=seen)
    for step, values in enumerate(seen.weights):
        keep = min(0.4, (1 + step) / (10 + step))
        for name, value in values.items():
            average[name] = keep * average[name] + (1 - keep) * value
    for name, value in weights(module).items():
        torch.testing.assert_close(value, average[name])
        assert not torch.equal(value, seen.weights[-1][name])


@pytest.mark.parametrize("clip", [0.05, 0.0])
def test_the_gradient_is_clipped(clip: float, tmp_path: Path) -> None:
    module = mlp()
    before = weights(module)
    seen = Recorder(module)
    how = options(optimizer="sgd", momentum=0.0, lr=1.0, clip=clip, schedule="constant", warmup=0.0)
    run(job(module), tmp_path, how, listener=seen)
    steps = [before, *seen.weights]
    moved = [
        float(torch.cat([(b[n] - a[n]).flatten() for n in a]).norm())
        for a, b in itertools.pairwise(steps)
    ]
    assert max(moved) <= clip * 1.001 if clip else max(moved) > 0.1
    assert min(moved) > 0


def test_eps_and_learning_rate_warm_up(tmp_path: Path) -> None:
    seen = Recorder()
    how = options(epochs=4, eps_warmup=0.25, warmup=0.5, schedule="constant", lr=0.01)
    run(job(mlp()), tmp_path, how, listener=seen)
    assert [s["eps_scale"] for s in seen.steps] == [0.25, 0.5, 0.75, *[1.0] * 9]
    rates = [0.01 * min((step + 1) / 7, 1) for step in range(12)]
    assert [s["lr"] for s in seen.steps] == pytest.approx(rates)


def test_it_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, [(1, 0, 0.5), (1, 0, 0.6), (1, 0, 0.6), (1, 0, 0.55), (1, 0, 0.9)])
    trained = run(job(mlp()), tmp_path, options(epochs=9, patience=2, eps_warmup=0.0))
    assert trained.steps == 9
    assert trained.best_step == 3
    assert trained.notes == ["ended early at step 9: robust accuracy has stopped rising"]
    again = run(job(mlp()), tmp_path, options(epochs=9, patience=2, eps_warmup=0.0))
    assert (again.steps, again.best_step, again.notes) == (9, 3, trained.notes)


def test_it_does_not_end_while_eps_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored(monkeypatch, [(1, 0, 0.9), *[(1, 0, 0.5)] * 9])
    trained = run(job(mlp()), tmp_path, options(epochs=9, patience=2, eps_warmup=0.5))
    # Steps of an epoch: 3. ε is whole from step 14 on of 27, so the validation after step 15 is the first to count.
    assert trained.steps == 21


def test_a_collapse_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = mlp()
    seen = Recorder(module)
    scored(monkeypatch, [(1, 0.5, 0.5), (1, 0.6, 0.6), (1, 0.9, 0.1), (1, 0.5, 0.5), (1, 0, 0.4)])
    still = {"lr": 0.01, "schedule": "constant", "warmup": 0.0, "eps_warmup": 0.0}
    how = options(epochs=4, optimizer="sgd", ema=0.5, **still)
    trained = run(job(module), tmp_path, how, listener=seen)
    assert [s["lr"] for s in seen.steps] == pytest.approx([0.01] * 6 + [0.005] * 6)
    (note,) = trained.notes
    assert note in seen.said
    assert "catastrophic overfitting at step 6" in note
    assert "from 60.0% to 10.0%" in note
    # The seventh step starts from the average after the third, which is what ends up the best.
    best = weights(module)
    moved = {n: (seen.weights[6][n] - best[n]).abs().max() for n in best}
    back = {n: (seen.weights[6][n] - seen.weights[5][n]).abs().max() for n in best}
    assert max(moved.values()) < 0.01
    assert max(back.values()) > max(moved.values())


COLLAPSE = [(1, 0.5, 0.5), (1, 0.6, 0.6), (1, 0.9, 0.1), (1, 0.95, 0.05), (1, 0.99, 0.01)]


@pytest.mark.parametrize(
    ("warmup", "rung"), [(0.0, 6), (0.2, 6), (0.4, None), (0.75, None)], ids=str
)
def test_accuracies_while_eps_grows_are_no_collapse(
    warmup: float, rung: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, COLLAPSE)
    trained = run(job(mlp()), tmp_path, options(epochs=4, eps_warmup=warmup))
    assert [f"at step {rung}:" in note for note in trained.notes] == (
        [] if rung is None else [True]
    )


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y + 100 * shift


def test_inputs_that_are_held_stay_with_their_samples(tmp_path: Path) -> None:
    """The second input gives the answer away: nothing is to learn, whatever the attack does."""
    y = torch.cat([blobs(48).y, blobs(24).y])
    shift = nn.functional.one_hot(y, CLASSES).float()
    seen = Recorder()
    data = material(extra={"shift": shift})
    trained = run(job(TwoInputs(), ["inner.1"]), tmp_path, options(), data, seen)
    assert trained.before == Scores(1.0, 1.0, 1.0)
    assert all(s["robust"] == 1 for s in seen.steps)


@pytest.mark.parametrize("base", ["standard", "at-pgd", "at-trades", "at-apgd"])
def test_a_model_without_classes(base: str, tmp_path: Path) -> None:
    module = mlp()
    parts = [blobs(48, seed=1).x, blobs(24, seed=2).x]
    wanted = [(x @ torch.linspace(-1, 1, FEATURES * CLASSES).reshape(FEATURES, -1),) for x in parts]
    data = material()
    data = Material(data.training, wanted[0], data.validation, wanted[1])
    how = options(base=base, epochs=30, validate_every=15, eps="0.02", lr=0.03)
    trained = run(job(module, ["1"], classes=False), tmp_path, how, data)
    assert trained.before.clean < 0
    assert trained.best.clean > trained.best.robust > 0.5


def test_the_lowest_score_may_win(tmp_path: Path) -> None:
    how = options(epochs=20, validate_every=10)
    module = mlp()
    trained = run(job(module, ["1"], lowest_wins=True), tmp_path, how)
    assert trained.best.robust > 0.9
    data = material().validation
    assert float((module(data.x).argmin(1) == data.y).float().mean()) > 0.9


@pytest.mark.usefixtures("rising")
def test_images_are_augmented_in_training(tmp_path: Path) -> None:
    def seen_by(**changes: Any) -> Tensor:
        module, batches = cnn(norm=False), list[Tensor]()
        module.register_forward_pre_hook(
            lambda m, inputs: batches.append(inputs[0]) if m.training else None
        )
        how = options(base="standard", gamma="0", epochs=1, **changes)
        of = job(module, channel_axis=1, low=-1.0)
        run(of, tmp_path / str(len(changes)), how, material(IMAGES))
        return torch.cat(batches)

    plain, moved, known = seen_by(), seen_by(crop=1, flip=True), material(IMAGES).training.x
    assert {x.numpy().tobytes() for x in plain} == {x.numpy().tobytes() for x in known}
    kept = [torch.equal(a, b) for a, b in zip(plain, moved, strict=True)]
    # One of nine crops leaves an image where it is, and so does half of the flips.
    assert sum(kept) < 12
    assert bool((moved == -1).any())


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_bfloat16_trains_as_well(clip: float, tmp_path: Path) -> None:
    seen, module = Recorder(), mlp()
    how = options(epochs=20, validate_every=10, precision="bf16-mixed", clip=clip)
    trained = run(job(module, ["1"]), tmp_path, how, listener=seen)
    assert trained.best.robust > 0.9
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    exact = Recorder()
    run(
        job(mlp(), ["1"]),
        tmp_path / "exact",
        options(epochs=20, validate_every=10, clip=clip),
        listener=exact,
    )
    assert seen.steps[0]["loss"] == pytest.approx(exact.steps[0]["loss"], rel=0.02)
    assert seen.steps[0]["loss"] != exact.steps[0]["loss"]


def test_channels_last_gives_the_same_numbers(tmp_path: Path) -> None:
    curves = []
    for last in (False, True):
        module, seen = cnn(norm=False), Recorder()
        if last:
            module.to(memory_format=torch.channels_last)
        how = options(channels_last=last, base="at-fgsm")
        run(job(module, ["2"]), tmp_path / str(last), how, material(IMAGES), seen)
        curves.append([s["loss"] for s in seen.steps])
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)
