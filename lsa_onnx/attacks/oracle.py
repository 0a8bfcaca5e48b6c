"""The contract between attacks and whatever knows the model: loss, gradient and margin of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

from lsa_onnx.attacks.arrays import Array, chosen, namespace, with_rows
from lsa_onnx.errors import DataError

# What the objective aims at, each entry (n, ...): labels, a target, a reference output. Opaque to
# attacks, which only take rows of it.
Goal: TypeAlias = Mapping[str, Array]


class Answer(NamedTuple):
    """What an oracle says of n inputs.

    Attributes:
        loss: To be maximised, shape (n,); comparable between calls for one sample.
        gradient: Of each sample's loss with respect to it, shape of x; ``None`` if not asked for.
        margin: z_y − max over j ≠ y of z_j, shape (n,): a sample is broken where it is ≤ 0. ``None``
            for objectives without classes.
    """

    loss: Array
    gradient: Array | None
    margin: Array | None


class Oracle(Protocol):
    """The model under attack together with an objective."""

    def __call__(self, x: Array, y: Goal, *, gradient: bool = True) -> Answer:
        """Loss, gradient and margin at ``x``, shape (n, ...), which is not changed."""


class Found(NamedTuple):
    """The worst input found for each sample, and what the oracle said of that very input.

    Attributes:
        x: Shape (n, ...).
        loss: Shape (n,).
        margin: Shape (n,), or ``None`` for objectives without classes.
    """

    x: Array
    loss: Array
    margin: Array | None

    @classmethod
    def of(cls, x: Array, answer: Answer) -> Found:
        """``x`` with what the oracle said of it; a loss that is NaN counts as none."""
        xp = namespace(answer.loss)
        lowest = xp.full_like(answer.loss, -float("inf"))
        loss = xp.where(xp.isnan(answer.loss), lowest, answer.loss)
        return cls(x, loss, answer.margin)

    @property
    def unbroken(self) -> Array:
        """Samples that are still classified right, shape (n,); all of them without classes."""
        xp = namespace(self.loss)
        if self.margin is None:
            return xp.ones_like(self.loss, dtype=xp.bool)
        return ~(self.margin <= 0)

    def rows(self, mask: Array) -> Found:
        """The samples under ``mask``, shape (n,)."""
        margin = None if self.margin is None else self.margin[mask]
        return Found(self.x[mask], self.loss[mask], margin)

    def replaced(self, mask: Array, part: Found) -> Found:
        """A copy in which ``part`` stands for the samples under ``mask``."""
        margin = None
        if self.margin is not None and part.margin is not None:
            margin = with_rows(self.margin, mask, part.margin)
        return Found(with_rows(self.x, mask, part.x), with_rows(self.loss, mask, part.loss), margin)

    def or_where(self, gain: Array, other: Found) -> Found:
        """``other`` for the samples where ``gain``, shape (n,), holds."""
        margin = None
        if self.margin is not None and other.margin is not None:
            margin = chosen(gain, other.margin, self.margin)
        loss = chosen(gain, other.loss, self.loss)
        return Found(chosen(gain, other.x, self.x), loss, margin)


def goal_rows(y: Goal, mask: Array) -> Goal:
    """The goal of the samples under ``mask``, shape (n,)."""
    return {name: values[mask] for name, values in y.items()}


def ask_gradient(oracle: Oracle, x: Array, y: Goal) -> tuple[Answer, Array]:
    """The oracle's answer at ``x`` and its gradient.

    Raises:
        DataError: The oracle has no gradient.
    """
    answer = oracle(x, y, gradient=True)
    if answer.gradient is None:
        raise DataError(
            "the attack needs a gradient, and the model offers none (gradient: None); "
            "the attack 'square' and the noises work without"
        )
    return answer, answer.gradient


def worse(found: Found | None, new: Found) -> Found:
    """What is worse for the model, sample by sample.

    Broken samples come before unbroken ones, then the higher loss counts.
    """
    if found is None:
        return new
    was, now = found.unbroken, new.unbroken
    gain = (was & ~now) | ((was == now) & (new.loss > found.loss))
    return found.or_where(gain, new)
