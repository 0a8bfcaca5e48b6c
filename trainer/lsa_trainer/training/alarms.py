"""What validations say of a run: whether it overfits, whether to stop, which checkpoint is the best.

Each is a value that the next validation turns into another; all of them are JSON-ready for checkpoints.
Accuracies are shares, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lsa_onnx.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Self

# Accuracies are shares of some thousands of samples; rounding must not decide.
_SLACK = 1e-9


class Recorded:
    """A dataclass that a checkpoint keeps."""

    def to_record(self) -> dict[str, Any]:
        """JSON-ready."""
        record: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """What gave the record."""
        return cls(**record)


@dataclass(frozen=True)
class Overfitting(Recorded):
    """Catastrophic overfitting (Wong, Rice and Kolter 2020): what training resists is all it resists.

    Attributes:
        step: Of the validation that showed it.
        one_step_before: Accuracy under the one-step attack, at the validation before.
        one_step: Now.
        multi_step_before: Accuracy under the multi-step attack, at the validation before.
        multi_step: Now.
    """

    step: int
    one_step_before: float
    one_step: float
    multi_step_before: float
    multi_step: float

    def __str__(self) -> str:
        return (
            f"catastrophic overfitting at step {self.step}: accuracy under the one-step attack rose "
            f"from {self.one_step_before:.1%} to {self.one_step:.1%} while it fell from "
            f"{self.multi_step_before:.1%} to {self.multi_step:.1%} under the multi-step attack"
        )


@dataclass(frozen=True)
class OverfittingAlarm(Recorded):
    """Rings when one-step accuracy rises while multi-step accuracy falls by more than a threshold.

    Attributes:
        threshold: Of the fall between two validations, above 0 to 1.
        one_step: At the last validation; ``None`` before the first.
        multi_step: Likewise.
    """

    threshold: float = 0.1
    one_step: float | None = None
    multi_step: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise DataError(
                f"an alarm threshold of {self.threshold} is not usable; give above 0 to 1"
            )

    def after(
        self, step: int, one_step: float, multi_step: float
    ) -> tuple[OverfittingAlarm, Overfitting | None]:
        """The alarm after a validation, and what it has to say."""
        following = replace(self, one_step=one_step, multi_step=multi_step)
        if self.one_step is None or self.multi_step is None:
            return following, None
        fallen = self.multi_step - multi_step > self.threshold + _SLACK
        if not (fallen and one_step > self.one_step + _SLACK):
            return following, None
        return following, Overfitting(step, self.one_step, one_step, self.multi_step, multi_step)


@dataclass(frozen=True)
class EarlyStop(Recorded):
    """Stops when robust accuracy has not risen for some validations.

    Attributes:
        patience: How many of them; 0 never stops.
        robust: The highest so far; ``None`` before the first validation.
        waited: Validations since then.
    """

    patience: int
    robust: float | None = None
    waited: int = 0

    def __post_init__(self) -> None:
        if self.patience < 0:
            raise DataError(
                f"a patience of {self.patience} is not usable; give 0 (never stop) or more"
            )

    def after(self, robust: float) -> EarlyStop:
        """The rule after a validation."""
        if self.robust is None or robust > self.robust + _SLACK:
            return replace(self, robust=robust, waited=0)
        return replace(self, waited=self.waited + 1)

    @property
    def due(self) -> bool:
        """Whether the run is to stop now."""
        return 0 < self.patience <= self.waited


@dataclass(frozen=True)
class Best(Recorded):
    """The checkpoint to keep: of those that give up little clean accuracy, the most robust.

    Among equally robust ones the cleanest, and of those the earliest.

    Attributes:
        clean_before: Clean accuracy of the model that training started from.
        max_clean_drop: How much of it may go, 0 to 1.
        step: Of the best checkpoint; ``None`` while none has qualified.
        robust: Its robust accuracy.
        clean: Its clean accuracy.
    """

    clean_before: float
    max_clean_drop: float
    step: int | None = None
    robust: float | None = None
    clean: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_clean_drop <= 1:
            raise DataError(
                f"a clean accuracy drop of {self.max_clean_drop} is not usable; give 0 to 1"
            )

    def after(self, step: int, clean: float, robust: float) -> Best:
        """The choice after a validation: another one exactly where its ``step`` is this one."""
        if not clean >= self.clean_before - self.max_clean_drop - _SLACK:
            return self
        if self.robust is not None and self.clean is not None:
            more_robust = robust > self.robust + _SLACK
            as_robust = abs(robust - self.robust) <= _SLACK
            if not (more_robust or (as_robust and clean > self.clean + _SLACK)):
                return self
        return replace(self, step=step, clean=clean, robust=robust)
