"""What the layers of a network return in torch, and how far each moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tests.trainer.exported_nets import Reader

Array = NDArray[Any]


def layer_outputs(module: nn.Module, x: Array) -> list[dict[str, list[Array]]]:
    """What each layer returns in each of its calls, sample by sample, in float64.

    Args:
        module: The network.
        x: Its inputs, shape (n, ...), or the vectors of the words of ``Reader``.
    """
    return [_calls(module, x[i : i + 1]) for i in range(len(x))]


def _calls(module: nn.Module, x: Array) -> dict[str, list[Array]]:
    calls: dict[str, list[Array]] = {}

    def keep(name: str, result: Any) -> None:
        value = result[0] if isinstance(result, tuple) else result
        calls.setdefault(name, []).append(value.detach().double().numpy())

    hooks = [
        layer.register_forward_hook(lambda _m, _x, y, name=name: keep(name, y))
        for name, layer in module.named_modules()
    ]
    given = torch.from_numpy(x)
    if isinstance(module, Reader):
        hooks.append(module.words.register_forward_hook(lambda _m, _ids, _y: torch.from_numpy(x)))
        given = torch.zeros(x.shape[:2], dtype=torch.int64)
    try:
        # With gradients, for torch has a shortcut without them that no layer of attention sees.
        with torch.enable_grad():
            module(given)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def relative_errors(
    clean: list[dict[str, list[Array]]], moved: list[dict[str, list[Array]]], layer: str
) -> Array:
    """‖a − b‖ / ‖a‖ per sample over the calls that both have, shape (n,); NaN where there are none."""
    return np.asarray([_relative_error(a, b, layer) for a, b in zip(clean, moved, strict=True)])


def _relative_error(
    clean: Mapping[str, list[Array]], moved: Mapping[str, list[Array]], layer: str
) -> float:
    pairs = list(zip(clean.get(layer, []), moved.get(layer, []), strict=False))
    norm = sum(float((a**2).sum()) for a, _ in pairs)
    distance = sum(float(((a - b) ** 2).sum()) for a, b in pairs)
    return float(np.sqrt(distance / norm)) if norm > 0 else float("nan")
