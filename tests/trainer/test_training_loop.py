"""AT-LR from the first step to the best weights, on models that train in milliseconds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsa_onnx.errors import DataError
from lsa_trainer.module import load
from lsa_trainer.objectives import BASES
from lsa_trainer.trainee import Job, OnnxTrainee
from lsa_trainer.training import checkpoint
from lsa_trainer.training.log import read_log
from lsa_trainer.training.minibatches import Material
from lsa_trainer.training.stepper import TrainingFailed
from lsa_trainer.training.validation import Scores, Validator
from tests import graphs
from tests.trainer.small_runs import (
    CLASSES,
    FEATURES,
    Recorder,
    blobs,
    cnn,
    job,
    material,
    mlp,
    options,
    run,
    weights,
)

IMAGES = (2, 5, 7)


def scored(monkeypatch: pytest.MonkeyPatch, rows: Iterable[tuple[float, float, float]]) -> None:
    """Let validations find these scores, one after the other."""
    found = itertools.chain(rows, itertools.repeat((0.0, 0.0, 0.0)))
    monkeypatch.setattr(Validator, "__call__", lambda _: Scores(*next(found)))


@pytest.fixture
def rising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each validation finds more than the one before: the last weights are the best."""
    scored(monkeypatch, [(0.5, 0.5, 0.01 * step) for step in range(99)])


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


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


def test_gamma_auto_makes_the_term_half_of_the_base_loss(tmp_path: Path) -> None:
    seen = Recorder()
    how = options(gamma="auto", eps_warmup=0.0, lr=1e-9)
    trained = run(job(mlp(), ["0", "1"]), tmp_path, how, listener=seen)
    means = {key: sum(s[key] for s in seen.steps[:3]) / 3 for key in ("base", "regulariser")}
    assert means["regulariser"] == pytest.approx(0.5 * means["base"], rel=0.1)
    parts = [trained.gammas[n] * seen.steps[0]["cm"][n] for n in ("0", "1")]
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
    trained = run(job(mlp()), tmp_path, options(epochs=9, patience=2))
    assert trained.steps == 9
    assert trained.best_step == 3
    assert trained.notes == ["ended early at step 9: robust accuracy has stopped rising"]
    again = run(job(mlp()), tmp_path, options(epochs=9, patience=2))
    assert (again.steps, again.best_step, again.notes) == (9, 3, trained.notes)


def test_a_collapse_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = mlp()
    seen = Recorder(module)
    scored(monkeypatch, [(1, 0.5, 0.5), (1, 0.6, 0.6), (1, 0.9, 0.1), (1, 0.5, 0.5), (1, 0, 0.4)])
    how = options(epochs=4, lr=0.01, schedule="constant", warmup=0.0, optimizer="sgd", ema=0.5)
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


class Unsteady(nn.Module):
    """Answers are finite, gradients at 0 are not."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y + (y * 0).abs().sqrt()


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (mlp, {"optimizer": "sgd", "lr": 1e30}, r"the loss is (nan|inf) at step 2 \(J .*; CM 1 "),
        (Unsteady, {"gamma": "0"}, "the norm of the gradient is nan at step 1; "),
    ],
)
def test_what_is_not_finite_ends_the_run_and_costs_nothing(
    make: Callable[[], nn.Module], how: dict[str, Any], message: str, clip: float, tmp_path: Path
) -> None:
    module = make()
    layers = ["1"] if "gamma" not in how else []
    if clip and not layers:
        how = {**how, "ema": 0.5}
    given = options(**how, clip=clip if not layers else 0.0, warmup=0.0, checkpoint_every=1)
    with pytest.raises(TrainingFailed, match=message) as caught:
        run(job(module, layers), tmp_path, given)
    assert "\n" not in str(caught.value)
    assert "--lr" in str(caught.value)
    kept = checkpoint.load(tmp_path)
    assert kept is not None
    assert kept.step == len([e for e in read_log(tmp_path / "log.jsonl") if e["event"] == "step"])
    assert all(t.isfinite().all() for n, t in kept.tensors.items() if n.startswith("weights."))


class Detached(nn.Module):
    """A weight that the answers do not depend on."""

    def __init__(self, rounded: bool) -> None:
        super().__init__()
        self.inner, self.rounded = mlp(), rounded

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y.round() + x[:, :CLASSES] if self.rounded else y.detach() + x[:, :CLASSES]


@pytest.mark.parametrize("rounded", [False, True])
def test_what_no_gradient_reaches_is_refused(rounded: bool, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no gradient reaches any weight"):
        run(job(Detached(rounded)), tmp_path, options())


def test_weights_that_no_gradient_reaches_are_named(tmp_path: Path) -> None:
    module, seen = mlp(), Recorder()
    lonely = nn.Parameter(torch.ones(2))
    of = job(module, parameters={**dict(module.named_parameters()), "lonely": lonely})
    run(of, tmp_path, options(), listener=seen)
    assert "no gradient reaches lonely in the first step" in seen.said


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


@pytest.mark.parametrize("shape", [(FEATURES,), IMAGES])
def test_crops_need_images(shape: tuple[int, ...], tmp_path: Path) -> None:
    axis = None if len(shape) == 1 else 1
    module = mlp() if axis is None else cnn(norm=False)
    crop = 1 if axis is None else 5
    with pytest.raises(DataError, match="need images" if axis is None else "5×7 pixels"):
        run(job(module, channel_axis=axis), tmp_path, options(crop=crop), material(shape))


@pytest.mark.usefixtures("rising")
class TestBatchNorm:
    def trained(self, tmp_path: Path, **changes: Any) -> tuple[nn.Module, dict[str, Tensor]]:
        """One step with all samples in one batch; running statistics by name."""
        module = cnn()
        statistics = dict(module.named_buffers())
        how = options(**{"epochs": 1, "batch_size": 48, "lr": 1e-9, **changes})
        kept = {} if how.batch_norm == "frozen" else statistics
        layers = [] if how.gamma == "0" else ["2"]
        run(job(module, layers, statistics=kept), tmp_path, how, material(IMAGES))
        return module, {name.removeprefix("1."): t for name, t in statistics.items()}

    def test_frozen_statistics_stay(self, tmp_path: Path) -> None:
        _, found = self.trained(tmp_path, batch_norm="frozen")
        assert not found["running_mean"].any()
        assert found["num_batches_tracked"] == 0

    def test_clean_passes_move_them_once_and_attacks_never(self, tmp_path: Path) -> None:
        module, found = self.trained(tmp_path, batch_norm="clean", steps=7)
        with torch.no_grad():
            mean = module[0](material(IMAGES).training.x).mean((0, 2, 3))
        torch.testing.assert_close(found["running_mean"], 0.1 * mean)
        assert found["num_batches_tracked"] == 1

    def test_all_passes_move_them(self, tmp_path: Path) -> None:
        _, found = self.trained(tmp_path, batch_norm="all", steps=7)
        assert found["num_batches_tracked"] == 2

    def test_without_a_clean_pass_nothing_moves_them(self, tmp_path: Path) -> None:
        _, found = self.trained(tmp_path, batch_norm="clean", gamma="0")
        assert found["num_batches_tracked"] == 0
        _, found = self.trained(tmp_path / "all", batch_norm="all", gamma="0")
        assert found["num_batches_tracked"] == 1

    @pytest.mark.parametrize(("policy", "moves"), [("frozen", 0), ("clean", 1), ("all", 2)])
    def test_of_a_file(self, policy: str, moves: int, tmp_path: Path) -> None:
        of, statistics, mean = onnx_batch_norm(tmp_path / "m.onnx", policy)
        how = options(epochs=1, batch_size=48, lr=1e-9, batch_norm=policy, eps="1e-9")
        run(of, tmp_path, how, material(IMAGES))
        kept = 0.9**moves
        torch.testing.assert_close(statistics["mean"], kept * torch.ones(4) + (1 - kept) * mean)


def onnx_batch_norm(path: Path, policy: str) -> tuple[Job, dict[str, Tensor], Tensor]:
    """Conv, BatchNormalization, ReLU, Gemm; its statistics, and the mean over the training samples."""
    one, zero = torch.ones(4).numpy(), torch.zeros(4).numpy()
    made = {"w": graphs.weight(0, 4, 2, 1, 1), "v": graphs.weight(1, 3, 140)}
    made |= {"scale": one, "bias": zero, "mean": one, "var": one * 2}
    nodes = [
        graphs.node("Conv", ["x", "w"], ["c"]),
        graphs.node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
        graphs.node("Relu", ["n"], ["r"]),
        graphs.node("Flatten", ["r"], ["f"]),
        graphs.node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    ends = graphs.value("x", ["N", *IMAGES]), graphs.value("y", ["N", 3])
    module = load(graphs.save(graphs.model(nodes, [ends[0]], [ends[1]], made), path))
    kept = {n: t for n, t in module.statistics().items() if policy != "frozen"}
    of = Job(
        trainee=OnnxTrainee(module, ["y", "r"], ["x"]),
        outputs=("y",),
        layers={"r": 0},
        parameters={w.name: module.weight(w.name) for w in module.trained()},
        statistics=kept,
    )
    with torch.no_grad():
        (c,) = module.reading(["c"])(material(IMAGES).training.x).values()
    return of, module.statistics(), c.mean((0, 2, 3))


class Stopping(Recorder):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def stepped(self, step: int, values: Any) -> None:
        super().stepped(step, values)
        if step == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [(1, 0.5, 0.5), (1, 0.6, 0.6), (1, 0.9, 0.1), (1, 0.2, 0.7), (1, 0.3, 0.75)]
    how = options(epochs=4, checkpoint_every=2, ema=0.5)
    whole, halved = mlp(dropout=0.5), mlp(dropout=0.5)
    scored(monkeypatch, scores)
    expected = run(job(whole, ["1"]), tmp_path / "whole", how)
    folder = tmp_path / "halved"
    scored(monkeypatch, scores)
    with pytest.raises(KeyboardInterrupt):
        run(job(halved, ["1"]), folder, how, listener=Stopping(stop))
    saved = checkpoint.load(folder)
    assert saved is not None
    scored(monkeypatch, scores[1 + saved.step // 3 :])
    other, seen = mlp(seed=9, dropout=0.5), Recorder()
    found = run(job(other, ["1"]), folder, how, listener=seen)
    ends = [checkpoint.load(tmp_path / name) for name in ("whole", "halved")]
    one, two = (dict(end.tensors) for end in ends if end is not None)
    assert_equal(one, two)
    assert_equal(weights(other), weights(whole))
    assert seen.said[0] == f"resumed at step {saved.step} of 12"
    assert (found.history, found.notes, found.best) == (
        expected.history,
        expected.notes,
        expected.best,
    )
    logs = [
        (tmp_path / name / "log.jsonl").read_bytes().splitlines() for name in ("whole", "halved")
    ]
    assert logs[0] == logs[1]
    steps = [json.loads(line) for line in logs[1]]
    assert [e["step"] for e in steps if e["event"] == "step"] == list(range(1, 13))
    assert [e["step"] for e in steps if e["event"] == "validation"] == [0, 3, 6, 9, 12]


def test_the_scale_of_saturated_logits_is_that_of_the_first_step(tmp_path: Path) -> None:
    """A notebook goes on with a module that has moved: what was measured before must still hold."""
    module = mlp()
    with torch.no_grad():
        module[3].weight *= 1000
    how = options(epochs=4, checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        run(job(module, ["1"]), tmp_path, how, listener=Stopping(2))
    saved = checkpoint.load(tmp_path)
    assert saved is not None
    temperature = saved.record["fixed"]["temperature"]
    assert temperature > 1
    assert run(job(mlp(), ["1"]), tmp_path, how).temperature == temperature


def test_a_run_is_not_gone_on_with_under_other_options(tmp_path: Path) -> None:
    run(job(mlp()), tmp_path, options())
    with pytest.raises(DataError, match=r"interrupted run has options = .*--fresh") as caught:
        run(job(mlp()), tmp_path, options(lr=0.5))
    assert "\n" not in str(caught.value)


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


def test_a_log_for_tensorboard_needs_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(DataError, match=r"lsa-onnx\[tensorboard\]"):
        run(job(mlp()), tmp_path, options(tensorboard=True))
