"""Weights and running statistics of a model: what trains, and where in the file it is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from lsa_onnx.errors import ModelError

Use = tuple[str, int]


@dataclass(frozen=True)
class Weight:
    """A constant that is a weight, or a running mean or variance.

    Attributes:
        name: Of the parameter: the initializer's, or for an untied copy a name of its own.
        source: The tensor of the file that holds its value: an initializer, or what a Constant makes.
        elements: How many numbers it has.
        shape: In ONNX's layout.
        use: For an untied copy, where it is read: (first output of the node, place of the input).
        frozen: Why it does not train (running statistics: why they cannot move), "" if it does.
        layer: The tensor that the first operator to read it makes.
    """

    name: str
    source: str
    elements: int
    shape: tuple[int, ...]
    use: Use | None = None
    frozen: str = ""
    layer: str = ""

    @property
    def trains(self) -> bool:
        """Whether it trains."""
        return not self.frozen


@dataclass(frozen=True)
class Constants:
    """The constants of a model by what they are.

    Attributes:
        weights: Weights, in the order of the file.
        statistics: Running means and variances.
    """

    weights: tuple[Weight, ...]
    statistics: tuple[Weight, ...]

    @property
    def trainable(self) -> int:
        """Numbers that train."""
        return sum(w.elements for w in self.weights if w.trains)

    @property
    def share(self) -> float:
        """The part of all weights that trains, 0 to 1; 0 where there are none."""
        total = sum(w.elements for w in self.weights)
        return self.trainable / total if total else 0.0

    @property
    def untied(self) -> dict[Use, str]:
        """Where an untied copy is read → its name."""
        return {w.use: w.name for w in self._all if w.use is not None}

    @property
    def sources(self) -> dict[str, tuple[str, Use | None]]:
        """Name of a weight or of statistics → its tensor in the file, and its only reader if that has others."""
        return {w.name: (w.source, w.use) for w in self._all}

    def freeze(self, sources: Collection[str], reason: str) -> Constants:
        """The same, with what is held by tensors among ``sources`` frozen for ``reason``, if it is not yet."""
        weights, statistics = (
            tuple(
                replace(w, frozen=reason) if w.source in sources and not w.frozen else w
                for w in part
            )
            for part in (self.weights, self.statistics)
        )
        return Constants(weights, statistics)

    def require_movable(self) -> None:
        """Refuse to move running statistics that cannot be written back.

        Raises:
            ModelError: There are some.
        """
        stuck = [w for w in self.statistics if w.frozen]
        if stuck:
            raise ModelError(
                f"running statistics {stuck[0].name!r} cannot move: they are {stuck[0].frozen}; "
                "keep them as they are with --batch-norm 'frozen'"
            )

    @property
    def _all(self) -> tuple[Weight, ...]:
        return (*self.weights, *self.statistics)
