"""Random noise of the size of an attack: what the attack's direction is worth is the difference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.attacks.balls import Norm
from lsa_onnx.attacks.base import Array
from lsa_onnx.attacks.randomness import SampleRandomness

# Attacks draw from the lower ones.
BASELINE_STREAM = 17
_ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}


def equal_norm_noise(
    x: Array, x_adv: Array, norm: Norm, *, seed: int, start: int, low: float, high: float
) -> Array:
    """Noise n with ‖n‖ = ‖x_adv − x‖ for each sample, added to ``x`` and cut to the range.

    Random signs in the linf norm, else normal numbers in a random direction. The cut makes it smaller
    where ``x`` lies at an end of the range.

    Args:
        x: Clean inputs, shape (n, ...).
        x_adv: What an attack made of them, likewise.
        norm: In which sizes are compared.
        seed: Of the random numbers, 0 to 2³² − 1.
        start: Position of the first sample in the selection.
        low: Lower end of the declared range.
        high: Upper end.
    """
    positions = np.arange(start, start + len(x))
    numbers = SampleRandomness(seed, BASELINE_STREAM, positions).normal(x.shape[1:] or (1,), 0, x)
    noisy = np.empty_like(x)
    for index, (clean, attacked, drawn) in enumerate(zip(x, x_adv, numbers, strict=True)):
        direction = np.sign(drawn) if norm == "linf" else drawn
        size = _norm(attacked.astype(np.float64) - clean, norm) / max(_norm(direction, norm), 1e-30)
        noisy[index] = np.clip(clean + direction.reshape(clean.shape) * size, low, high)
    return noisy


def _norm(values: NDArray[np.floating], norm: Norm) -> float:
    flat = values.astype(np.float64).ravel()
    return float(np.linalg.norm(flat, _ORDERS[norm])) if flat.size else 0.0
