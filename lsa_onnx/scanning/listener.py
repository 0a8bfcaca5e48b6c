"""What a long run tells whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report.conditions import Conditions
from lsa_onnx.report.document import Accuracy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Listener:
    """Receives progress and early results. This one ignores them; the command line shows them."""

    def message(self, text: str) -> None:
        """Something the user should know now, in one line."""

    def clean_accuracy(self, accuracy: Accuracy) -> None:
        """The accuracy on clean inputs: known before any score is."""

    def planned(self, conditions: Conditions) -> None:
        """What will be run, before it is: who cannot use that may raise, and nothing was said yet."""

    def predicted(self, classes: NDArray[np.int64]) -> None:
        """What the model says of the clean samples, shape (samples,), where it predicts classes."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of ``total`` samples starts; the one before it is over."""

    def advance(self, samples: int) -> None:
        """So many more samples of the stage are done."""

    def end(self) -> None:
        """The last stage is over."""
