r"""One row per layer and perturbation (long form), for spreadsheets and data frames.

Names come from the model, and a spreadsheet runs a cell that begins like a formula. So a text cell is
escaped, reversibly: a backslash and what acts on a screen become escapes of Python (``\\``, ``\n``,
``\x1b``), and a cell that would begin like a formula, or with an apostrophe, gets an apostrophe in
front. ``original`` undoes both. Numbers are written in full; an empty cell is an undefined figure.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from lsa_onnx.report import text, view

if TYPE_CHECKING:
    from lsa_onnx.report.document import (
        LayerInfo,
        LayerScore,
        PerturbationResult,
        Report,
    )

Cell: TypeAlias = str | int | float | None

# Spreadsheets of East Asian locales take the wide forms for the signs, too.
_FORMULA_STARTS = tuple("=+-@＝＋－＠")
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt\\])")


@dataclass(frozen=True)
class Row:
    """A layer under a perturbation, and what the report says of it elsewhere.

    ``number`` is the layer's position in graph order, from 0; ``rank`` its position in the perturbation's
    MVL list, from 1; ``noise`` its mean CM under random noise of the norm of the attack's change.
    """

    result: PerturbationResult
    number: int
    info: LayerInfo
    score: LayerScore
    rank: int | None
    noise: float | None


@dataclass(frozen=True)
class Column:
    """A column: its stable name, its unit (empty for text), what it says, and how it is had."""

    name: str
    unit: str
    meaning: str
    of: Callable[[Row], Cell]


def _quantile(level: str) -> Column:
    """The column of a quantile, ``level`` as the report writes it: "0.05"."""
    return Column(
        f"cm_q{level.removeprefix('0.')}",
        "none",
        f"quantile {level} of CM",
        lambda r: r.score.relative_error.quantiles.get(level),
    )


COLUMNS = (
    Column("perturbation", "", "name of the perturbation", lambda r: r.result.name),
    Column("kind", "", "noise, attack or pairs", lambda r: r.result.kind),
    Column("norm", "", "linf, l2 or l1; empty for what is no attack", lambda r: _norm(r.result)),
    Column("eps", "declared range", "strength of an attack", lambda r: _eps(r.result)),
    Column("layer", "", "number of the layer in graph order, from 0", lambda r: r.number),
    Column("tensor", "", "ONNX name of the scored tensor", lambda r: r.info.tensor),
    Column("node", "", "node that makes it", lambda r: r.info.node),
    Column("op", "", "operator of that node", lambda r: r.info.op),
    Column("body", "", "path of the If, Loop or Scan body; empty in the main graph", lambda r: r.info.body),
    Column("shape", "", "as the model declares it", lambda r: _shape(r.info)),
    Column("dtype", "", "element type", lambda r: r.info.dtype),
    Column("parameters", "weights", "of the layer's learnable nodes", lambda r: r.info.parameters),
    Column("status", "", "ok, or why there are no figures", lambda r: r.score.status),
    Column("reason", "", "more on a status that is not ok", lambda r: r.score.reason),
    Column("mvl_rank", "", "place in the perturbation's MVL list, from 1", lambda r: r.rank),
    Column("cm_mean", "none", "mean CM over the samples", lambda r: r.score.relative_error.mean),
    Column("cm_low", "none", "lower bound of its 95 % interval", lambda r: _bound(r, 0)),
    Column("cm_high", "none", "upper bound of its 95 % interval", lambda r: _bound(r, 1)),
    Column("cm_std", "none", "standard deviation of CM", lambda r: r.score.relative_error.std),
    Column("cm_median", "none", "median of CM", lambda r: r.score.relative_error.median),
    Column("cm_min", "none", "smallest CM", lambda r: r.score.relative_error.minimum),
    Column("cm_max", "none", "largest CM", lambda r: r.score.relative_error.maximum),
    *map(_quantile, ("0.05", "0.25", "0.75", "0.95")),
    Column("cm_n", "samples", "that CM is defined for", lambda r: r.score.relative_error.n),
    Column("cm_noise", "none", "mean CM under random noise of the same norm", lambda r: r.noise),
    Column("absolute_mean", "activation", "mean ‖Δφ‖", lambda r: r.score.absolute_error.mean),
    Column("cosine_mean", "none", "mean cosine of φ(x) and φ(x̂)", lambda r: r.score.cosine.mean),
    Column(
        "amplification_mean", "activation per input", "mean ‖Δφ‖ / ‖Δx‖",
        lambda r: r.score.amplification.mean,
    ),
    Column("growth", "none", "mean CM over that of the layers before", lambda r: r.score.growth),
    Column("stability", "share", "of resamples that list the layer", lambda r: r.score.stability),
    Column(
        "undefined_samples", "samples", "left out: clean norm near zero",
        lambda r: r.score.undefined_samples,
    ),
    Column(
        "nonfinite_samples", "samples", "left out: NaN or infinity",
        lambda r: r.score.nonfinite_samples,
    ),
    Column(
        "numerical_floor", "none", "a CM near it is rounding", lambda r: r.info.numerical_floor
    ),
)  # fmt: skip


def render(report: Report) -> str:
    """The table, a header line first; lines end in CR LF (RFC 4180)."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(column.name for column in COLUMNS)
    for row in _rows(report):
        writer.writerow(_cell(column.of(row)) for column in COLUMNS)
    return written.getvalue()


def escaped(value: str) -> str:
    """A text as its cell holds it: on one line, and never a formula."""
    shown = "".join(r"\\" if c == "\\" else text.visible(c) for c in value)
    return f"'{shown}" if shown.lstrip().startswith((*_FORMULA_STARTS, "'")) else shown


def original(cell: str) -> str:
    """The text whose cell this is: the inverse of ``escaped``."""
    shown = cell.removeprefix("'")
    return _ESCAPE.sub(lambda found: found[0].encode("ascii").decode("unicode_escape"), shown)


def _rows(report: Report) -> Iterator[Row]:
    places = {info.tensor: (number, info) for number, info in enumerate(report.layers)}
    for result in report.perturbations:
        ranks = {tensor: rank for rank, tensor in enumerate(result.mvl.layers, start=1)}
        noise = view.baseline_means(report, result)
        for score in result.layers:
            if score.tensor in places:
                number, info = places[score.tensor]
                rank = ranks.get(score.tensor)
                yield Row(result, number, info, score, rank, noise.get(score.tensor))


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return escaped(value) if isinstance(value, str) else repr(value)


def _norm(result: PerturbationResult) -> str | None:
    return result.attack.norm if result.attack else None


def _eps(result: PerturbationResult) -> float | None:
    return result.attack.eps if result.attack else None


def _shape(info: LayerInfo) -> str | None:
    return None if info.shape is None else text.shape(info.shape)


def _bound(row: Row, side: int) -> float | None:
    interval = row.score.relative_error.interval
    return None if interval is None else interval[side]
