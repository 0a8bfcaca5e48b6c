"""Jobs that train in milliseconds, and data that can be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lsa_trainer.listener import TrainingListener
from lsa_trainer.options import TrainingOptions
from lsa_trainer.trainee import Job, SourceTrainee, Trainee
from lsa_trainer.training.data import TrainingSet
from lsa_trainer.training.loop import Trained, train
from lsa_trainer.training.minibatches import Material
from lsa_trainer.training.setup import launch
from lsa_trainer.training.validation import Scores, Validator

if TYPE_CHECKING:
    import pytest
    from lightning_fabric import Fabric

CLASSES = 3
FEATURES = 6
IMAGES = (2, 5, 7)


def blobs(count: int, shape: Sequence[int] = (FEATURES,), seed: int = 0) -> TrainingSet:
    """Three noisy patterns in 0..1, told apart with ease, and which of them each sample is."""
    chance = torch.Generator().manual_seed(7)
    centres = 0.2 + 0.6 * (torch.rand(CLASSES, *shape, generator=chance) > 0.5)
    chance.manual_seed(seed)
    y = torch.arange(count) % CLASSES
    noise = 0.1 * torch.randn(count, *shape, generator=chance)
    return TrainingSet((centres[y] + noise).clamp(0, 1), y)


def material(shape: Sequence[int] = (FEATURES,), extra: Mapping[str, Tensor] | None = None) -> Any:
    """48 samples to train on, 24 to validate with."""
    parts = [blobs(48, shape, 1), blobs(24, shape, 2)]
    if extra is not None:
        held = [{n: t[:48] for n, t in extra.items()}, {n: t[48:72] for n, t in extra.items()}]
        parts = [TrainingSet(p.x, p.y, h) for p, h in zip(parts, held, strict=True)]
    targets = [(part.y,) for part in parts]
    return Material(parts[0], targets[0], parts[1], targets[1])


def mlp(seed: int = 0, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(FEATURES, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, CLASSES)
    )


def cnn(seed: int = 0, *, norm: bool = True) -> nn.Module:
    """For images of 2×5×7."""
    torch.manual_seed(seed)
    middle = nn.BatchNorm2d(4) if norm else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), middle, nn.ReLU(), nn.Flatten(), nn.Linear(140, CLASSES)
    )


def cnn_with_dropout() -> nn.Module:
    """All that draws numbers or has a memory: Dropout and BatchNorm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(140, CLASSES),
    )


def job(
    module: nn.Module, layers: Sequence[str] = (), trainee: Trainee | None = None, **changes: Any
) -> Job:
    module.eval()
    trainee = trainee or SourceTrainee(module, (SourceTrainee.output, *layers))
    given: dict[str, Any] = {
        "outputs": (SourceTrainee.output,),
        "layers": dict.fromkeys(layers, 0),
        "parameters": dict(module.named_parameters()),
        **changes,
    }
    return Job(trainee=trainee, **given)


QUICK = {
    "epochs": 2,
    "batch_size": 16,
    "steps": 2,
    "eps": "0.1",
    "validation_steps": 2,
    "lr": 0.05,
    "gamma": "0.2",
    "max_clean_drop": 1.0,
}


def options(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**{**QUICK, **changes})


def run(
    of: Job,
    folder: Path,
    how: TrainingOptions,
    data: Material | None = None,
    listener: TrainingListener | None = None,
    fabric: Fabric | None = None,
) -> Trained:
    return train(
        of,
        data or material(),
        how,
        fabric=fabric or launch(how, "cpu"),
        folder=folder,
        record={"options": repr(how)},
        listener=listener,
    )


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


class Recorder(TrainingListener):
    """Keeps what it is told, and the weights that the module had then."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self.module = module
        self.said: list[str] = []
        self.steps: list[dict[str, Any]] = []
        self.weights: list[dict[str, Tensor]] = []
        self.validations: list[tuple[int, Any]] = []
        self.gammas: dict[str, float] = {}

    def message(self, text: str) -> None:
        self.said.append(text)

    def objective(self, gammas: Mapping[str, float]) -> None:
        self.gammas = dict(gammas)

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        self.steps.append(dict(values))
        if self.module is not None:
            self.weights.append(weights(self.module))

    def validated(self, step: int, scores: Any) -> None:
        self.validations.append((step, scores))


class Stopping(Recorder):
    """Interrupts the run after a step."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        super().stepped(step, values)
        if step == self.at:
            raise KeyboardInterrupt


def scored(monkeypatch: pytest.MonkeyPatch, rows: Iterable[tuple[float, float, float]]) -> None:
    """Let validations find these scores, one after the other."""
    found = itertools.chain(rows, itertools.repeat((0.0, 0.0, 0.0)))
    monkeypatch.setattr(Validator, "__call__", lambda _: Scores(*next(found)))


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
