"""An optimizer that is flattened, saved, loaded and restored takes the very same steps."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lsa_onnx.errors import DataError
from lsa_trainer.training.checkpoint import Checkpoint, load, prefixed, save, under
from lsa_trainer.training.optimizer_state import flatten_optimizer, restore_optimizer

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.99), weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "tensor rate": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), capturable=False),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True, momentum=0.5),
}


def network(seed: int) -> Any:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def groups(model: Any) -> list[dict[str, Any]]:
    """Two groups; the last bias never has a gradient, so its state stays empty."""
    first, _, last = model
    return [
        {"params": [*first.parameters()], "weight_decay": 0.2},
        {"params": [last.weight, last.bias]},
    ]


def train(model: Any, optimizer: Any, steps: range) -> None:
    for step in steps:
        x = torch.sin(torch.arange(15.0).reshape(5, 3) + step)
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        model[2].bias.grad = None
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * 0.9
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_goes_on_bit_for_bit(tmp_path: Path, name: str) -> None:
    model = network(0)
    optimizer = OPTIMIZERS[name](groups(model))
    train(model, optimizer, range(4))
    tensors, record = flatten_optimizer(optimizer)
    weights = copy.deepcopy(model.state_dict())
    everything = prefixed("optimizer", tensors) | prefixed("model", weights)
    save(tmp_path, Checkpoint(4, everything, {"optimizer": record}))
    train(model, optimizer, range(4, 9))

    found = load(tmp_path)
    assert found is not None
    resumed = network(1)
    resumed.load_state_dict(under("model", found.tensors))
    other = OPTIMIZERS[name](groups(resumed))
    restore_optimizer(other, under("optimizer", found.tensors), found.record["optimizer"])
    train(resumed, other, range(4, 9))
    for own, expected in zip(resumed.parameters(), model.parameters(), strict=True):
        assert torch.equal(own, expected)
    again, _ = flatten_optimizer(other)
    straight, _ = flatten_optimizer(optimizer)
    assert again.keys() == straight.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in straight.items())


def test_names_and_record_by_hand() -> None:
    weight, bias = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight, bias], lr=0.5, betas=(0.9, 0.99))
    weight.grad = torch.full((2, 3), 2.0)
    optimizer.step()
    tensors, record = flatten_optimizer(optimizer)
    assert set(tensors) == {"state.0.step", "state.0.exp_avg", "state.0.exp_avg_sq"}
    assert float(tensors["state.0.step"]) == 1
    torch.testing.assert_close(tensors["state.0.exp_avg"], torch.full((2, 3), 0.2))
    assert json.loads(json.dumps(record)) == record
    assert record["group.0"]["lr"] == {"value": 0.5}
    assert record["group.0"]["params"] == {"value": [0, 1]}


def test_betas_stay_a_pair() -> None:
    optimizer = OPTIMIZERS["adamw"](network(0).parameters())
    restore_optimizer(optimizer, *flatten_optimizer(optimizer))
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.99)


def test_restored_state_is_its_own() -> None:
    model = network(0)
    optimizer = OPTIMIZERS["momentum"](groups(model))
    train(model, optimizer, range(2))
    tensors, record = flatten_optimizer(optimizer)
    saved = {name: tensor.clone() for name, tensor in tensors.items()}
    resumed = network(1)
    other = OPTIMIZERS["momentum"](groups(resumed))
    restore_optimizer(other, tensors, record)
    train(model, optimizer, range(2, 4))
    kept, _ = flatten_optimizer(other)
    assert kept.keys() == saved.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in saved.items())


def test_refuses_the_state_of_other_groups() -> None:
    tensors, record = flatten_optimizer(OPTIMIZERS["sgd"](groups(network(0))))
    other = OPTIMIZERS["sgd"](network(0).parameters())
    with pytest.raises(DataError, match=r"groups of \[2, 2\] parameters, this run's of \[4\]"):
        restore_optimizer(other, tensors, record)
