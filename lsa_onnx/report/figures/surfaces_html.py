"""Loss landscapes as one page that needs nothing else: surfaces to turn around, contours, curvatures.

The page holds plotly.js. Its security policy is that of the other pages: exactly the scripts in it, by
their hashes, and no request at all. Names never reach plotly, which reads markup in texts: they are in
the page around it, escaped by jinja2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lsa_onnx.files import write_atomically
from lsa_onnx.report import text
from lsa_onnx.report.facts import Facts, told_file
from lsa_onnx.report.figures.drawing import plotly_source
from lsa_onnx.report.figures.surfaces import (
    SPACES,
    Losses,
    losses_of,
    scale_of,
    title_of,
)
from lsa_onnx.report.html_page import render_page
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    import os

    from lsa_onnx.report.landscape import Curvature, Landscape, Surface

_PAGE = "surfaces"
# Lines of a contour; plotly rounds no number of them.
_LINES = 16


def write_surfaces(landscape: Landscape, path: str | os.PathLike[str]) -> None:
    """Write the page to ``path``; an earlier file there is replaced only by a complete one.

    Raises:
        DataError: plotly is not installed, or the file cannot be written.
    """
    write_atomically(path, render_surfaces(landscape).encode("utf-8"))


def render_surfaces(landscape: Landscape) -> str:
    """The whole page as text, to be stored as UTF-8.

    Raises:
        DataError: plotly is not installed.
    """
    unit, middle = SPACES[landscape.space]
    values = {
        "landscape": landscape,
        "objective": text.objective(landscape.objective),
        "titles": [title_of(landscape, surface) for surface in landscape.surfaces],
        "rows": [_summary(landscape, surface) for surface in landscape.surfaces],
        "curvatures": [_curvatures(landscape, surface) for surface in landscape.surfaces],
        "definitions": _definitions(landscape),
        "gammas": [_gammas(landscape, s) for s in landscape.surfaces if s.gammas],
        "unit": unit,
        "middle": middle,
        "is_log": scale_of(landscape).is_log,
        "has_holes": any(np.isnan(losses_of(s)).any() for s in landscape.surfaces),
        "topics": _topics(landscape),
        "command": text.command_line(landscape.run.command),
        "tool_version": landscape.tool_version,
        "title": f"Loss landscape of {', '.join(m.file.path for m in landscape.models)}",
    }
    return render_page(_PAGE, chart(landscape), values, plotly_source())


def chart(landscape: Landscape) -> dict[str, Any]:
    """What the page's script reads: numbers alone.

    Of each surface, arrays [j][i] belong to ``beta`` [j] and ``alpha`` [i], as plotly has it; heights are
    what is drawn, the losses or their logarithms.
    """
    scale = scale_of(landscape)
    first, second = landscape.axes
    return {
        "alpha": first.values,
        "beta": second.values,
        "low": scale.low,
        "high": scale.high,
        "step": (scale.high - scale.low) / _LINES,
        "ticks": scale.ticks(),
        "labels": [scale.said(height) for height in scale.ticks()],
        "surfaces": [
            {
                "heights": _columns(scale.heights(losses_of(surface))),
                "loss": _columns(losses_of(surface)),
                "accuracy": _columns(np.array(surface.accuracy, np.float64))
                if surface.accuracy is not None
                else None,
            }
            for surface in landscape.surfaces
        ],
    }


def _columns(values: Losses) -> list[list[float | None]]:
    """Transposed, with ``None`` for what is not finite, which JSON cannot say."""
    return [
        [float(value) if np.isfinite(value) else None for value in column] for column in values.T
    ]


def _summary(landscape: Landscape, surface: Surface) -> list[str]:
    """The loss in the middle, its extremes and the accuracy in the middle."""
    losses = losses_of(surface)
    known = losses[np.isfinite(losses)]
    first, second = (int(np.argmin(np.abs(axis.values))) for axis in landscape.axes)
    right = surface.accuracy[first][second] if surface.accuracy is not None else None
    return [
        text.figure(surface.loss[first][second]),
        text.figure(float(known.min()) if known.size else None),
        text.figure(float(known.max()) if known.size else None),
        text.share(right),
    ]


def _curvatures(landscape: Landscape, surface: Surface) -> list[tuple[str, str, str, str, str]]:
    return [
        (title_of(landscape, surface), each.measure, text.figure(each.value), _interval(each),
         f"{each.n:,}")
        for each in surface.curvatures
    ]  # fmt: skip


def _interval(curvature: Curvature) -> str:
    if curvature.interval is None:
        return text.MISSING
    low, high = curvature.interval
    return f"{text.figure(low)}–{text.figure(high)}"


def _definitions(landscape: Landscape) -> list[tuple[str, str]]:
    """Each figure of curvature once, with how it is computed."""
    found = {(c.measure, c.definition) for s in landscape.surfaces for c in s.curvatures}
    return sorted(found)


def _gammas(landscape: Landscape, surface: Surface) -> tuple[str, list[tuple[str, str]]]:
    """What a surface regularises: tensors with their γ."""
    tensors = [(tensor, text.figure(gamma)) for tensor, gamma in surface.gammas.items()]
    return title_of(landscape, surface), tensors


def _topics(landscape: Landscape) -> dict[str, Facts]:
    """How it was measured; every value is safe to show as it is."""
    run, data = landscape.run, landscape.data
    low, high = landscape.input.range
    versions = f"ONNX Runtime {visible(run.onnxruntime)}"
    if run.torch is not None:
        versions += f", torch {visible(run.torch)}"
    return {
        "Models": [(str(n), told_file(m.file)) for n, m in enumerate(landscape.models, 1)],
        "Data": [
            ("Source", visible(data.source)),
            ("Samples", f"{data.samples:,} of {data.available:,}"),
            ("Fingerprint", visible(data.fingerprint)),
            ("Value range", f"{text.brief(low)} to {text.brief(high)}"),
        ],
        "Run": [
            ("Seed", str(run.seed)),
            ("Samples", f"{run.samples:,}"),
            ("Attack", visible(run.attack) if run.attack is not None else "none"),
            ("Device", visible(run.device)),
            ("Duration", f"{run.seconds:.1f} s"),
            ("Versions", versions),
            ("Python", f"{visible(run.python)} on {visible(run.platform)}"),
        ],
    }
