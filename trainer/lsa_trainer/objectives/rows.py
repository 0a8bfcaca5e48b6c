"""Tensors as one row per sample, in a type whose sums can be trusted."""

from __future__ import annotations

import torch

_WIDE = (torch.float32, torch.float64)


def wide(x: torch.Tensor) -> torch.Tensor:
    """``x`` itself where it is float32 or float64, else as float32."""
    return x if x.dtype in _WIDE else x.float()


def sample_rows(x: torch.Tensor, samples: int, batch_axis: int | None = 0) -> torch.Tensor:
    """``x`` with one row per sample, shape (samples, elements); a view where that is possible.

    Args:
        x: Values of all samples.
        samples: How many there are. Where the batch axis is longer, several consecutive entries belong to
            a sample (attention heads that are merged into the batch, say).
        batch_axis: The axis that counts samples; ``None`` where the whole tensor belongs to one sample.
    """
    if batch_axis:
        x = x.movedim(batch_axis, 0)
    # An explicit length: -1 says nothing where there are no samples.
    elements = x.numel() // samples if samples else x.shape[1:].numel()
    return x.reshape(samples, elements)
