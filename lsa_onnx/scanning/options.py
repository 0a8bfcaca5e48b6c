"""Everything that a scan or an evaluation can be told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from lsa_onnx.attacks import (
    ATTACKS,
    NOISES,
    AttackSettings,
    Norm,
    Perturbation,
    parse_eps,
    parse_perturbations,
)
from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Arrays, parse_hold
from lsa_onnx.option_values import settle
from lsa_onnx.prediction import Decision

DEFAULT_ETA = 0.1
# Eight levels of a pixel, the usual bound for images; small against most other ranges.
DEFAULT_EPS = "8/255"
DEFAULT_PERTURBATIONS = (*NOISES, "fgsm", "pgd")
SYNTHETIC_SAMPLES = 64
MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class SubjectOptions:
    """What is examined, on which data, and where.

    Attributes:
        data: Path of the inputs, or what ``lsa_onnx.inputs.as_source`` takes: an array, a tuple (x, y), or
            a dict of arrays by name; ``None`` for synthetic ones.
        labels: Path of labels, "none" to ignore those in the data, ``None`` for those in the data.
        x_key: Array of an npz that holds the samples.
        y_key: Array of an npz that holds the labels.
        split: Folder or array group of the data to use, such as "test".
        resize: Scale images of another size to the model's.
        samples: How many samples to draw at random; all if ``None``.
        seed: Of the draw, all perturbations and the bootstrap, 0 to 2³² − 1.
        range: Declared value range of the data; ``None`` for the sidecar's, else 0..1.
        mean: Per channel, on the 0..1 scale; ``None`` for the sidecar's, else no normalisation; empty
            for none at all.
        std: Likewise.
        layout: "NCHW", "NHWC" or "flat"; ``None`` for the sidecar's, else by the model's shape; empty
            for that in any case.
        decision: How a class is read: which score wins, "max" or "min"; "binary" where one score, a logit
            or a probability, tells two classes apart; "none" for a model that is to count as one without.
        perturb: The input to perturb; the first of floats if ``None``.
        perturb_at: An inner tensor to perturb in place of an input; for a model without float inputs its
            embedding if ``None``.
        hold: ``NAME=FILE`` or ``NAME=NUMBER`` for inputs that are not perturbed.
        batch: Samples per run; by the memory budget if ``None``.
        max_memory_bytes: Bound on memory beyond that of a plain session.
        device: "auto", "cpu", "cuda" or "cuda:N".
        expect_accuracy: Least clean accuracy, 0..1, below which the run stops.
        command: The command line, for the report.

    Raises:
        DataError: A value is outside its range, or an option misses what it needs.
    """

    data: Path | Arrays | None = None
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
    decision: Decision = "max"
    perturb: str | None = None
    perturb_at: str | None = None
    hold: tuple[str, ...] = ()
    batch: int | None = None
    max_memory_bytes: int | None = None
    device: str = "auto"
    expect_accuracy: float | None = None
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle(self)
        self._require_least(batch=1, samples=1, seed=0)
        if self.seed > MAX_SEED:
            raise DataError(f"--seed {self.seed} is too large; give a number of at most {MAX_SEED}")
        if self.decision not in get_args(Decision):
            raise DataError(
                f"--decision {self.decision!r} is not known; give one of {', '.join(get_args(Decision))}"
            )
        wanted = self.expect_accuracy
        if wanted is not None and not 0 <= wanted <= 1:
            raise DataError(f"--expect-accuracy {wanted:g} is not a share; give 0 to 1")
        if wanted is not None and self.data is None:
            raise DataError(f"--expect-accuracy {wanted:g} needs labelled data; give --data")
        if self.labels not in (None, "none") and self.data is None:
            raise DataError(
                f"--labels {self.labels!r} belong to data of your own; give them with --data"
            )

    @property
    def files(self) -> list[str | Path]:
        """What the run reads beside the model.

        Raises:
            DataError: A ``hold`` is not ``NAME=FILE``.
        """
        labels = None if self.labels == "none" else self.labels
        held = [parse_hold(text)[1] for text in self.hold]
        given = (self.data, labels, *held)
        return [path for path in given if path is not None and not isinstance(path, Arrays)]

    @property
    def libraries(self) -> tuple[str, ...]:
        """Libraries of custom operators that the model needs."""
        return ()

    @property
    def budget_bytes(self) -> int | None:
        """What one session may take beyond a plain one; ``None`` for the usual budget."""
        return self.max_memory_bytes

    def _require_least(self, **least: int) -> None:
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                flag = "--" + name.replace("_", "-")
                raise DataError(f"{flag} {value} is not usable; give a number of at least {bound}")


@dataclass(frozen=True)
class AttackOptions(SubjectOptions):
    """How attacks go about it.

    Attributes:
        norm: In which ε is measured: "linf", "l2" or "l1".
        steps: Gradient steps (queries of Square); each attack's own number if ``None``.
        restarts: Random starts, of which the worst counts per sample.
        momentum: Decay of earlier gradients, of PGD.
        objective: What attacks maximise, see ``lsa_onnx.scanning.adversary``; by default cross-entropy,
            for models without classes the change of the outputs.
        straight_through: Let gradients pass Sign, Round, Floor and Ceil.
        save_adversarial: An npz for the inputs that attacks made.
        custom_ops: Libraries of custom operators that the model needs. Their code is run, so a flag names
            them and no file can.
    """

    norm: Norm = "linf"
    steps: int | None = None
    restarts: int = 1
    momentum: float = 0.0
    objective: str | None = None
    straight_through: bool = False
    save_adversarial: Path | None = None
    custom_ops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_least(steps=1, restarts=1)

    @property
    def libraries(self) -> tuple[str, ...]:
        """See ``SubjectOptions``."""
        return self.custom_ops

    def settings(self, eps: str, low: float, high: float) -> AttackSettings:
        """What attacks are given beside their names, for inputs in ``low`` to ``high``.

        Raises:
            DataError: ``eps`` or the norm is not usable.
        """
        return AttackSettings(
            eps=parse_eps(eps, high - low),
            norm=self.norm,
            steps=self.steps,
            restarts=self.restarts,
            objective=self.objective,
            seed=self.seed,
            low=low,
            high=high,
            momentum=self.momentum,
        )


@dataclass(frozen=True)
class ScanOptions(AttackOptions):
    """How to scan.

    Attributes:
        perturbations: ``NAME`` or ``NAME=STRENGTH`` of each noise or attack; ``None`` for
            ``DEFAULT_PERTURBATIONS``, with the black-box attack in place of those that need a
            gradient where the model has none. Empty only if ``perturbed`` is given.
        eps: How far attacks may go, as ``lsa_onnx.attacks.parse_eps`` takes it.
        perturbed: Perturbed inputs made elsewhere, scored as well: a path, or arrays as for ``data``.
        layers: Selectors, see ``lsa_onnx.layers.plan_layers``.
        eta: Cut-off η of Algorithm 1.
        top_k: List the k layers with the largest mean CM instead.
        shard: ``(i, n)``: score the i-th of n parts of the samples, counted from 1, for ``merge``. A part is of
            whole batches.
        records: An npz for what the runtime returns of each sample; a shard needs one.
        pictures: Whether the report may show inputs, where they are images.
    """

    perturbations: tuple[str, ...] | None = None
    eps: str = DEFAULT_EPS
    perturbed: Path | Arrays | None = None
    layers: tuple[str, ...] = ("activations",)
    eta: float = DEFAULT_ETA
    top_k: int | None = None
    shard: tuple[int, int] | None = None
    records: Path | None = None
    pictures: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_least(top_k=1)
        if not math.isfinite(self.eta):
            raise DataError(f"--eta {self.eta} is not a finite number; give one such as 0.5")
        if self.perturbed is not None and self.data is None:
            raise DataError(
                f"--perturbed {str(self.perturbed)!r} needs the clean inputs it was made from; "
                "give them with --data"
            )
        if self.perturbations == () and self.perturbed is None:
            accepted = ", ".join([*NOISES, *ATTACKS])
            raise DataError(f"there is no perturbation; give one of {accepted}")
        self._check_shard()

    def _check_shard(self) -> None:
        if self.shard is None:
            return
        number, count = self.shard
        if not 1 <= number <= count:
            raise DataError(
                f"--shard {number}/{count} does not exist; give I/N with I from 1 to N, such as 1/{max(count, 1)}"
            )
        if self.records is None:
            raise DataError(
                f"--shard {number}/{count} has nowhere to write what merging needs; give --json FILE, beside "
                "which the records go, or --records FILE.npz"
            )

    @property
    def files(self) -> list[str | Path]:
        """See ``SubjectOptions.files``."""
        return [*super().files, *([self.perturbed] if isinstance(self.perturbed, Path) else [])]

    @property
    def budget_bytes(self) -> int | None:
        """See ``SubjectOptions``: with attacks, scores and gradients have a session each."""
        texts = DEFAULT_PERTURBATIONS if self.perturbations is None else self.perturbations
        attacks = any(text.partition("=")[0] in ATTACKS for text in texts)
        bound = self.max_memory_bytes
        return bound // 2 if bound is not None and attacks else bound

    def made_perturbations(self, low: float, high: float) -> list[Perturbation]:
        """The noises and attacks that were asked for, for inputs in ``low`` to ``high``.

        Raises:
            DataError: An unknown name, or a strength that is not usable.
        """
        texts = DEFAULT_PERTURBATIONS if self.perturbations is None else self.perturbations
        return parse_perturbations(texts, self.settings(self.eps, low, high))


@dataclass(frozen=True)
class EvaluationOptions(AttackOptions):
    """How to evaluate.

    Attributes:
        attacks: Names of attacks.
        eps_list: Strengths, as ``lsa_onnx.attacks.parse_eps`` takes them.
    """

    attacks: tuple[str, ...] = ("pgd",)
    eps_list: tuple[str, ...] = ("0", "2/255", "4/255", DEFAULT_EPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attacks or not self.eps_list:
            raise DataError(
                "there is nothing to evaluate; give --attack, one of "
                f"{', '.join(ATTACKS)}, and --eps-list such as 0,2/255,8/255"
            )
