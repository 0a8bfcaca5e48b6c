"""Operators that do something else while the module trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as all of torch's users call it
from torch import Tensor, nn

from lsa_trainer.ops.registry import Floats, operator

_HALVES = (torch.float16, torch.bfloat16)


@operator("BatchNormalization")
class BatchNormalization(nn.Module):
    """Channels normalised by statistics that are given, or by those of the batch.

    Attributes:
        use_batch_statistics: Whether a module that trains normalises by the statistics of the batch
            and moves the given ones, in place, towards them. Files are deployed with the given ones,
            so the default is to use these. It may be changed between any two passes, but statistics
            must not move between a pass that has used them as given and its backward.
    """

    def __init__(
        self, *, epsilon: float = 1e-5, momentum: float = 0.9, training_mode: int = 0
    ) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.momentum = momentum
        self.training_mode = training_mode
        self.use_batch_statistics = False

    def forward(
        self, x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Normalise.

        Args:
            x: (n, c, ...).
            scale: (c,), as all that follow.
            b: Added after scaling.
            mean: The given mean.
            var: The given variance, with the number of elements for divisor (not one fewer).

        Returns:
            As x. A node in training mode gives the moved statistics too, and leaves the given ones as
            they are.
        """
        if self.training_mode:
            return self._in_training_mode(x, scale, b, mean, var)
        if self.training and self.use_batch_statistics:
            return self._by_batch(x, scale, b, mean, var)
        if mean.requires_grad or var.requires_grad:
            return self._written_out(x, scale, b, mean, var)
        scale, b, mean, var = _of_one_type(x, scale, b, mean, var)
        return torch.batch_norm(x, scale, b, mean, var, False, 0.0, self.epsilon, True)

    def extra_repr(self) -> str:
        """The attributes."""
        return f"epsilon={self.epsilon:g}, momentum={self.momentum:g}"

    def _by_batch(self, x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        scale, b = _of_one_type(x, scale, b)
        # With momentum 1, torch leaves the statistics of the batch in these.
        batch_mean, batch_var = scale.new_zeros((2, len(scale)))
        y = torch.batch_norm(x, scale, b, batch_mean, batch_var, True, 1.0, self.epsilon, True)
        count, kept = x.numel() // x.shape[1], self.momentum
        with torch.no_grad():
            mean.mul_(kept).add_(batch_mean, alpha=1 - kept)
            var.mul_(kept)
            # Torch has divided by one less; a single element has no variance.
            if count > 1:
                var.add_(batch_var, alpha=(1 - kept) * (count - 1) / count)
        return y

    def _in_training_mode(
        self, x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        axes = [0, *range(2, x.dim())]
        batch_var, batch_mean = torch.var_mean(_wide(x), axes, correction=0)
        y = self._written_out(x, scale, b, batch_mean, batch_var)
        kept = self.momentum
        moved = (
            given * kept + of_batch.to(given.dtype) * (1 - kept)
            for given, of_batch in ((mean, batch_mean), (var, batch_var))
        )
        return (y, *moved)

    def _written_out(
        self, x: Tensor, scale: Tensor, b: Tensor, mean: Tensor, var: Tensor
    ) -> Tensor:
        """With gradients by the statistics too."""
        shape = (-1, *[1] * (x.dim() - 2))
        factor = scale * (var + self.epsilon).rsqrt()
        y = (_wide(x) - mean.reshape(shape)) * factor.reshape(shape) + b.reshape(shape)
        return y.to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    """In single precision at least."""
    return x.float() if x.dtype in _HALVES else x


def _of_one_type(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """The parameters in one element type that torch normalises x with."""
    if all(p.dtype == x.dtype for p in parameters):
        return parameters
    dtype = torch.float32 if x.dtype in _HALVES else x.dtype
    return tuple(p.to(dtype) for p in parameters)


@operator("Dropout")
class Dropout(nn.Module):
    """Zeros at random places of a module that trains, the rest scaled up; nothing otherwise."""

    def __init__(self, *, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(
        self,
        x: Tensor,
        ratio: Floats | None = None,
        training_mode: Tensor | None = None,  # noqa: ARG002 - the module's own mode decides
    ) -> Tensor | tuple[Tensor, Tensor]:
        """x, a share ``ratio`` of it set to 0, and where wanted which elements were kept."""
        share = ratio[0] if ratio else 0.5
        if self.outputs == 1:
            return F.dropout(x, share, self.training)
        if not self.training:
            return x, torch.ones_like(x, dtype=torch.bool)
        y, kept = torch.native_dropout(x, share, True)
        return y, kept
