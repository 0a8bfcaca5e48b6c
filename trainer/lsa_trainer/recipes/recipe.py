"""What a recipe says, as typed records that hold nothing which cannot be run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lsa_onnx.attacks import ATTACKS, parse_eps
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.errors import DataError
from lsa_onnx.scanning.options import MAX_SEED
from lsa_trainer.options import BASES, HardenOptions

# Networks, and which of them come in more than one width.
ARCHITECTURES = ("A", "B", "C", "D")
SCALABLE = frozenset("CD")
KINDS = ("moons", "file")
DECISIONS = ("max", "binary")
# The base of the row that holds the model of step 1 itself.
NORMAL = "normal"
# Layers by a rule: none, the MVL list of the scan, as many as that list holds by growth of CM.
NONE, MVL, GROWTH = "none", "mvl", "growth"
_INDEX = re.compile(r"L(\d+)")
# File names are made of these.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class DataSpec:
    """Where samples come from, and what their values mean.

    Attributes:
        kind: "moons" (scikit-learn's, both features standardised by the training samples), or "file": the
            user names one.
        source: Where to get the file, in words.
        train: Training samples; all if ``None``.
        test: Test samples that are made; without a meaning for a file.
        noise: Of moons, in units of the half circles' radius.
        range: Of the values, wide enough for all samples.
        decision: "max" for a score per class, "binary" for a single logit.
    """

    kind: str
    source: str = ""
    train: int | None = None
    test: int | None = None
    noise: float = 0.0
    range: tuple[float, float] = (0.0, 1.0)
    decision: str = "max"

    def __post_init__(self) -> None:
        _choose("kind of data", self.kind, KINDS)
        _choose("decision", self.decision, DECISIONS)
        if self.kind == "moons" and (self.train is None or self.test is None):
            raise DataError("moons are made: the data need the numbers train and test")
        if self.kind == "file" and self.test is not None:
            raise DataError(
                f"test = {self.test} is for data that are made; give the samples of evaluations"
            )


@dataclass(frozen=True)
class ScanSpec:
    """How models are scanned, on training samples.

    Attributes:
        perturbations: Noises and attacks. The MVL list is that of the attack which breaks most samples.
        eps: Of attacks.
        eta: Cut-off of Algorithm 1.
        samples: How many.
        steps: Gradient steps of attacks; each attack's own number if ``None``.
        after: Whether hardened models are scanned, too.
    """

    perturbations: tuple[str, ...]
    eps: str
    eta: float
    samples: int = 512
    steps: int | None = None
    after: bool = False


@dataclass(frozen=True)
class EvaluateSpec:
    """How one attack is evaluated on test samples, at every ε of the recipe.

    ``samples`` of them (all if ``None``), the same for all rows and seeds; so many to a ``batch``.
    """

    samples: int | None = None
    steps: int | None = None
    batch: int | None = None
    restarts: int = 1


@dataclass(frozen=True)
class FigureSpec:
    """What is drawn of a recipe, on test samples.

    Attributes:
        rows: Whose models are side by side. The first is the one whose loss is drawn over its weights.
        perturbations: Noises and attacks by layer, each with its strength where another than its own is meant.
        eps: Of attacks.
        extent: How far the loss is drawn around samples, as ``lsa_onnx.attacks.parse_eps`` takes it.
        samples: How many.
        points: Along each axis of a loss, odd.
    """

    rows: tuple[str, ...]
    perturbations: tuple[str, ...]
    eps: str
    extent: str
    samples: int = 1000
    points: int = 25


@dataclass(frozen=True)
class Row:
    """One way to train, and what was published of it.

    Attributes:
        name: Of the row, and of its folder.
        base: "normal" for the model of step 1 itself, else a base of ``HardenOptions``.
        layers: "none", "mvl", "growth", or "L0", "L1", ...: places among the scanned layers in the order of
            the graph.
        options: Further fields of ``HardenOptions``, over those that all rows share.
        published: Accuracies in percent, one for each ε; empty where there are none.
        published_r_and_g: Their sum as it was published.
    """

    name: str
    base: str
    layers: tuple[str, ...] = (NONE,)
    options: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[float, ...] = ()
    published_r_and_g: float | None = None

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise DataError(
                f"row {self.name!r} cannot name a folder; use letters, digits and . _ + -"
            )
        _choose(f"base of row {self.name!r}:", self.base, (NORMAL, *BASES))
        _check_layers(self)

    @property
    def regularised(self) -> bool:
        """Whether it has a layer-wise term."""
        return self.layers != (NONE,)

    @property
    def indices(self) -> tuple[int, ...] | None:
        """Places of the layers; ``None`` where a rule chooses them."""
        found = [_INDEX.fullmatch(each) for each in self.layers]
        return tuple(int(each[1]) for each in found if each is not None) or None


@dataclass(frozen=True)
class Recipe:
    """A published experiment.

    Attributes:
        name: Of its file.
        title: What it shows.
        source: The publication.
        architecture: One of ``ARCHITECTURES``.
        width: Of an architecture that comes in more than one; ``None`` for the published one.
        threads: For training; those of torch if ``None``.
        seeds: Of the runs.
        eps_list: Strengths of evaluations, growing from 0.
        data: Where samples come from.
        normal: Fields of ``TrainingOptions`` for step 1.
        scan: How to find layers.
        harden: Fields of ``HardenOptions`` that all rows share.
        evaluate: How to evaluate, by attack.
        rows: Ways to train, in the order of the table.
        figures: What is drawn; ``None`` where nothing is.
        scale: The reduced run that this is; empty for the full one.
        scales: Names of the reduced runs that there are.
    """

    name: str
    title: str
    source: str
    architecture: str
    width: int | None
    threads: int | None
    seeds: tuple[int, ...]
    eps_list: tuple[str, ...]
    data: DataSpec
    normal: Mapping[str, Any]
    scan: ScanSpec
    harden: Mapping[str, Any]
    evaluate: Mapping[str, EvaluateSpec]
    rows: tuple[Row, ...]
    figures: FigureSpec | None = None
    scale: str = ""
    scales: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _choose("architecture", self.architecture, ARCHITECTURES)
        if self.width is not None and self.architecture not in SCALABLE:
            raise DataError(
                f"width = {self.width} is for networks {' and '.join(sorted(SCALABLE))}, this is "
                f"{self.architecture}; leave it out"
            )
        require_seeds(self.seeds)
        _check_strengths(self.eps_list, self.data)
        for attack in self.evaluate:
            _choose("attack to evaluate with", attack, ATTACKS)
        _check_rows(self)
        for row in self.figures.rows if self.figures else ():
            _choose("row in [figures]:", row, [each.name for each in self.rows])

    def row(self, name: str) -> Row:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    def chosen_rows(self, patterns: tuple[str, ...]) -> tuple[Row, ...]:
        """Rows by name or wildcard, in their own order; all where nothing is asked for.

        Raises:
            DataError: A pattern fits no row.
        """
        names = [row.name for row in self.rows]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise unknown(f"row of recipe {self.name!r}:", pattern, names)
        return tuple(
            row
            for row in self.rows
            if not patterns or any(fnmatchcase(row.name, pattern) for pattern in patterns)
        )

    def options_of(self, row: Row, data: Path, **fixed: Any) -> HardenOptions:
        """How a row is hardened on ``data``; ``fixed`` is what no recipe says.

        Raises:
            DataError: A value is not usable.
        """
        layerless = {} if row.regularised else {"gamma": "0"}
        told = {**self.harden, **row.options, "base": row.base, **layerless}
        return HardenOptions(data=data, **{**told, **fixed})


def require_seeds(seeds: tuple[int, ...]) -> None:
    """Refuse seeds that cannot be run, or not apart.

    Raises:
        DataError: There are none, one is out of range, or one is there twice.
    """
    if not seeds or not 0 <= min(seeds) <= max(seeds) <= MAX_SEED or len({*seeds}) != len(seeds):
        raise DataError(
            f"seeds {', '.join(map(str, seeds)) or 'of which there are none'} are not usable; give different "
            f"numbers of 0 to {MAX_SEED}, such as 0,1,2"
        )


def _choose(what: str, value: str, accepted: Any) -> None:
    if value not in accepted:
        raise unknown(what, value, accepted)


def _check_layers(row: Row) -> None:
    rules = {NONE, MVL, GROWTH}
    single = len(row.layers) == 1 and row.layers[0] in rules
    if not single and not (row.layers and all(_INDEX.fullmatch(each) for each in row.layers)):
        raise DataError(
            f"layers {', '.join(row.layers) or '[]'} of row {row.name!r} are not known; give none, mvl, growth, or "
            "places such as L0"
        )
    if row.base == NORMAL and (row.regularised or row.options):
        given = ", ".join(row.options) or f"layers {', '.join(row.layers)}"
        raise DataError(
            f"row {row.name!r} is the model of step 1, which takes no {given}; leave it out, or give another base"
        )


def _check_strengths(eps_list: tuple[str, ...], data: DataSpec) -> None:
    width = data.range[1] - data.range[0]
    if not width > 0:
        raise DataError(
            f"range {data.range[0]:g}, {data.range[1]:g} is empty; give low before high"
        )
    values = [parse_eps(text, width) for text in eps_list]
    if not values or values[0] != 0:
        raise DataError(
            f"eps_list {', '.join(eps_list) or '[]'} does not begin with 0, and the R&G score counts clean "
            "accuracy; put a 0 first"
        )
    if sorted({*values}) != values:
        raise DataError(f"eps_list {', '.join(eps_list)} does not grow; order it, each once")


def _check_rows(recipe: Recipe) -> None:
    names = [row.name for row in recipe.rows]
    if not names:
        raise DataError("there are no rows; give at least one [[rows]]")
    # Some file systems take AT and at for the same folder.
    folded = [name.casefold() for name in names]
    twice = next((name for name in names if folded.count(name.casefold()) > 1), None)
    if twice is not None:
        raise DataError(f"row {twice!r} is there twice; give each row a name of its own")
    for row in recipe.rows:
        if row.published and len(row.published) != len(recipe.eps_list):
            raise DataError(
                f"row {row.name!r} has {len(row.published)} published accuracies and eps_list "
                f"{len(recipe.eps_list)} strengths; give one for each"
            )
        if row.base != NORMAL:
            recipe.options_of(row, Path("data"))
