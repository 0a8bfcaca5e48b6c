"""The moving average against sums worked out by hand, and what a swap leaves behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lsa_onnx.errors import DataError
from lsa_trainer.training.averaging import Average


def values_of(average: Average) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in average.state()[0].items()}


def test_by_hand_with_the_warm_up_of_the_decay() -> None:
    weight = torch.tensor([0.0, 8.0])
    average = Average({"w": weight}, decay=0.15)
    # Shares kept: 1/10, then min(0.15, 2/11) = 0.15.
    weight += 10
    average.update()
    torch.testing.assert_close(values_of(average)["w"], torch.tensor([9.0, 17.0]))
    weight.fill_(1.0)
    average.update()
    expected = torch.tensor([9 * 0.15 + 0.85, 17 * 0.15 + 0.85])
    torch.testing.assert_close(values_of(average)["w"], expected)
    assert average.updates == 2


def test_without_decay_it_follows_the_weights() -> None:
    weight = torch.zeros(3)
    average = Average({"w": weight}, decay=0.0)
    weight.fill_(7.0)
    average.update()
    assert torch.equal(values_of(average)["w"], weight)


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.int64),
    ],
)
def test_half_precision_is_averaged_in_float32(own: torch.dtype, kept: torch.dtype) -> None:
    weight = torch.tensor([[1, 2, 3], [4, 5, 6]], dtype=own)
    average = Average({"w": weight}, decay=0.999)
    weight += 1
    average.update()
    found = values_of(average)["w"]
    assert found.dtype == kept
    step = 1.0 if own == torch.int64 else 0.9
    expected = torch.tensor([[1, 2, 3], [4, 5, 6]]) + step
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=1e-6)


def test_swapped_in_and_back_bit_for_bit_even_after_an_error() -> None:
    layer = torch.nn.Linear(3, 2)
    own = {name: p.detach().clone() for name, p in layer.named_parameters()}
    average = Average(dict(layer.named_parameters()), decay=0.5)
    with torch.no_grad():
        layer.weight.mul_(3)
    average.update()
    now = layer.weight.detach().clone()

    def evaluate() -> None:
        with average.swapped_in():
            expected = own["weight"] * 0.1 + now * 0.9
            torch.testing.assert_close(layer.weight.detach(), expected)
            assert layer.weight.requires_grad
            raise KeyError("evaluation")

    with pytest.raises(KeyError):
        evaluate()
    assert torch.equal(layer.weight, now)
    assert torch.equal(layer.bias, own["bias"])


def test_goes_on_from_its_state_bit_for_bit() -> None:
    def run(weight: Tensor, average: Average, steps: range) -> None:
        for step in steps:
            weight.copy_(torch.tensor([1.7, -0.3]) * step)
            average.update()

    weight = torch.zeros(2)
    straight = Average({"w": weight}, decay=0.9)
    run(weight, straight, range(4))
    tensors, record = straight.state()
    saved = {name: tensor.clone() for name, tensor in tensors.items()}
    run(weight, straight, range(4, 12))

    other = torch.full((2,), 99.0)
    resumed = Average({"w": other}, decay=0.9)
    resumed.restore(saved, record)
    run(other, resumed, range(4, 12))
    assert torch.equal(values_of(resumed)["w"], values_of(straight)["w"])
    assert resumed.updates == straight.updates == 12


def test_refuses_a_decay_that_is_none_and_the_state_of_another_model() -> None:
    for decay in (1.0, -0.1, float("nan")):
        with pytest.raises(DataError, match=f"decay of {decay} is not usable"):
            Average({}, decay)
    average = Average({"w": torch.zeros(2, 3)}, 0.9)
    with pytest.raises(DataError, match=r"shape \(3, 2\) for the average of 'w'.*\(2, 3\)"):
        average.restore({"w": torch.zeros(3, 2)}, {"updates": 1})
    with pytest.raises(DataError, match="shape None for the average of 'w'"):
        average.restore({}, {"updates": 1})
