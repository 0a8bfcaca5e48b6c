"""Everything a scan can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from lsa_onnx.attacks import NOISES
from lsa_onnx.errors import DataError

DEFAULT_ETA = 0.1
SYNTHETIC_SAMPLES = 64
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class ScanOptions:
    """How to scan.

    Attributes:
        data: Path of the inputs; ``None`` for synthetic ones.
        labels: Path of labels, "none" to ignore those in the data, ``None`` for those in the data.
        x_key: Array of an npz that holds the samples.
        y_key: Array of an npz that holds the labels.
        split: Folder or array group of the data to use, such as "test".
        resize: Scale images of another size to the model's.
        samples: How many samples to draw at random; all if ``None``.
        seed: Of the draw, the noises and the bootstrap, 0 to 2³² − 1.
        range: Declared value range of the data; ``None`` for the sidecar's, else 0..1.
        mean: Per channel, on the 0..1 scale; ``None`` for the sidecar's, else no normalisation.
        std: Likewise.
        layout: "NCHW", "NHWC" or "flat"; ``None`` for the sidecar's, else by the model's shape.
        perturbations: ``NAME`` or ``NAME=STRENGTH`` of each perturbation; none, if ``perturbed``
            is given.
        perturbed: Path of perturbed inputs made elsewhere, scored as well.
        layers: Selectors, see ``lsa_onnx.layers.plan_layers``.
        eta: Cut-off η of Algorithm 1.
        top_k: List the k layers with the largest mean CM instead.
        batch: Samples per run; by the memory budget if ``None``.
        max_memory_bytes: Bound on memory beyond that of a plain session.
        device: "auto", "cpu", "cuda" or "cuda:N".
        expect_accuracy: Least clean accuracy, 0..1, below which the scan stops.
        command: The command line, for the report.

    Raises:
        DataError: A number is outside its range.
    """

    data: Path | None = None
    labels: str | None = None
    x_key: str | None = None
    y_key: str | None = None
    split: str | None = None
    resize: bool = False
    samples: int | None = None
    seed: int = 0
    range: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: str | None = None
    perturbations: tuple[str, ...] = tuple(NOISES)
    perturbed: Path | None = None
    layers: tuple[str, ...] = ("activations",)
    eta: float = DEFAULT_ETA
    top_k: int | None = None
    batch: int | None = None
    max_memory_bytes: int | None = None
    device: str = "auto"
    expect_accuracy: float | None = None
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.expect_accuracy is not None and self.data is None:
            raise DataError(
                f"--expect-accuracy {self.expect_accuracy:g} needs labelled data; give --data"
            )
        if self.labels not in (None, "none") and self.data is None:
            raise DataError(
                f"--labels {self.labels!r} belong to data of your own; give them with --data"
            )
        if self.perturbed is not None and self.data is None:
            raise DataError(
                f"--perturbed {str(self.perturbed)!r} needs the clean inputs it was made from; "
                "give them with --data"
            )
        if not self.perturbations and self.perturbed is None:
            raise DataError(f"there is no perturbation; give one of {', '.join(NOISES)}")

    def _check_numbers(self) -> None:
        if not math.isfinite(self.eta):
            raise DataError(f"--eta {self.eta} is not a finite number; give one such as 0.5")
        for name, least in (("top_k", 1), ("batch", 1), ("samples", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                flag = "--" + name.replace("_", "-")
                raise DataError(f"{flag} {value} is not usable; give a number of at least {least}")
        if self.seed > MAX_SEED:
            raise DataError(f"--seed {self.seed} is too large; give a number of at most {MAX_SEED}")
        wanted = self.expect_accuracy
        if wanted is not None and not 0 <= wanted <= 1:
            raise DataError(f"--expect-accuracy {wanted:g} is not a share; give 0 to 1")
