"""What a training run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lsa_onnx.scanning.listener import Listener

if TYPE_CHECKING:
    from lsa_trainer.training.validation import Scores


class TrainingListener(Listener):
    """Receives progress. This one ignores it; the command line shows it."""

    def training(self, total: int, done: int) -> None:
        """Training of ``total`` steps starts or, at ``done``, goes on."""

    def objective(self, gammas: Mapping[str, float]) -> None:
        """γ by layer."""

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        """A step is done; ``values`` are those of the log."""

    def validated(self, step: int, scores: Scores) -> None:
        """A validation is done."""

    def training_ended(self) -> None:
        """The last step is done."""
