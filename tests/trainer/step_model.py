"""A model by hand, for tests of what a training step minimises and of what its attack climbs."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

COUNT = 3


class StepModel:
    """Conv, ReLU, a layer that counts samples on its second axis, and two outputs."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        options: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
        self.x, self.w = torch.rand(COUNT, 2, 4, 5, **options), torch.randn(3, 2, 2, 2, **options)
        self.v = torch.randn(36, 4, **options)
        self.x_adv = self.x + 0.3 * torch.rand(self.x.shape, **options)
        self.y = torch.tensor([0, 3, 1])
        self.passes: list[tuple[int, bool]] = []
        for weight in (self.w, self.v):
            weight.requires_grad_()

    def __call__(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.passes.append((len(x), torch.is_grad_enabled()))
        relu = functional.conv2d(x, self.w).relu()
        turned = relu.flatten(1).T
        y = turned.T @ self.v
        return {"relu": relu, "turned": turned, "y": y, "z": y.square(), "ignored": x}
