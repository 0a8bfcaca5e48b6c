"""The options of each kind of run as keyword arguments: what type checkers and editors know of them.

Each class has the fields of the options that it is named after, in the wider types that those settle. It
is for annotations alone; ``lsa_onnx.api`` checks what is really given.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, TypedDict

AnyPath: TypeAlias = str | os.PathLike[str]
# As lsa_onnx.inputs.memory.Data, which would bring numpy along.
Data: TypeAlias = Any
Texts: TypeAlias = str | Sequence[AnyPath]
# 0.03, or a text such as 8/255 or 3%.
Distance: TypeAlias = str | float


class SubjectKeywords(TypedDict, total=False):
    """Those of ``lsa_onnx.scanning.options.SubjectOptions``."""

    data: Data
    labels: AnyPath | None
    x_key: str | None
    y_key: str | None
    split: str | None
    resize: bool
    samples: int | None
    seed: int
    range: tuple[float, float] | None
    mean: Sequence[float] | None
    std: Sequence[float] | None
    layout: str | None
    decision: Literal["max", "min", "binary", "none"]
    perturb: str | None
    perturb_at: str | None
    hold: Texts
    batch: int | None
    max_memory_bytes: int | None
    device: str
    expect_accuracy: float | None
    command: Texts


class AttackKeywords(SubjectKeywords, total=False):
    """Those of ``lsa_onnx.scanning.options.AttackOptions``."""

    norm: Literal["linf", "l2", "l1"]
    steps: int | None
    restarts: int
    momentum: float
    objective: str | None
    straight_through: bool
    save_adversarial: AnyPath | None
    custom_ops: Texts


class ScanKeywords(AttackKeywords, total=False):
    """Those of ``lsa_onnx.ScanOptions``."""

    perturbations: Texts | None
    eps: Distance
    perturbed: Data
    layers: Texts
    eta: float
    top_k: int | None
    shard: tuple[int, int] | None
    records: AnyPath | None
    pictures: bool


class EvaluationKeywords(AttackKeywords, total=False):
    """Those of ``lsa_onnx.EvaluationOptions``."""

    attacks: Texts
    eps_list: Distance | Sequence[Distance]


class LandscapeKeywords(AttackKeywords, total=False):
    """Those of ``lsa_onnx.LandscapeOptions``."""

    space: Literal["input", "weights"]
    extent: Distance | None
    points: int
    attack: str
    eps: Distance
    proposals: Texts
    mvl: Texts
    report: AnyPath | None
    gamma: Distance


class BoundaryKeywords(SubjectKeywords, total=False):
    """Those of ``lsa_onnx.BoundaryOptions``."""

    points: int
    extent: tuple[float, float] | None
    eps: Distance | None
    custom_ops: Texts
