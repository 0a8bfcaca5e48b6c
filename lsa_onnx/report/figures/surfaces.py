"""Loss landscapes: each surface in three dimensions and as a contour, all on the same axes and scale."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.report import text
from lsa_onnx.report.figures.drawing import drawn_to, legible, model_names
from lsa_onnx.report.figures.style import (
    COLOURS_OF_LOSS,
    HOLE,
    INK,
    NORMAL,
    SMALL,
    SOFT,
    WIDTH,
    halo,
)

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from lsa_onnx.report.landscape import Curvature, Landscape, Surface

_ROW_HEIGHT = 2.75
_TITLE_HEIGHT = 0.45
_CAPTION_ROW = 0.135
_SHADES = 32
_CURVATURES_SHOWN = 3
# A loss that grows by more than this over the plane shows nothing of its middle on a linear scale.
_WIDE = 50.0

# The unit of the axes and what lies in the middle.
SPACES = {
    "input": ("in units of the input range", "the samples themselves"),
    "weights": ("in multiples of the norm of each filter", "the model itself"),
}

_UNREGULARISED = "no layer regularised"

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Of the loss, for every surface: ``low`` to ``high``, which are powers of ten when ``is_log``."""

    is_log: bool
    low: float
    high: float

    def heights(self, losses: Losses) -> Losses:
        """Losses as heights and colours; not a number where there is none."""
        return np.log10(losses) if self.is_log else losses

    def ticks(self) -> list[float]:
        """Heights to number: at most seven."""
        from matplotlib.ticker import MaxNLocator

        inside = [
            power + math.log10(step)
            for power in range(math.floor(self.low), math.ceil(self.high) + 1)
            for step in (1, 2, 5)
            if self.low <= power + math.log10(step) <= self.high
        ]
        if self.is_log and len(inside) > 1:
            return inside[:: -(-len(inside) // 7)]
        found = MaxNLocator(6).tick_values(self.low, self.high)
        return [float(height) for height in found if self.low <= height <= self.high]

    def said(self, height: float) -> str:
        """A height as the loss that it stands for."""
        loss = 10**height if self.is_log else height
        return text.brief(loss).replace("-", "\N{MINUS SIGN}")


def draw_surfaces(landscape: Landscape, path: str | os.PathLike[str]) -> None:
    """Draw every surface of a landscape, to a png, svg or pdf file.

    Raises:
        DataError: It cannot be drawn or written.
    """
    with drawn_to(path) as figure:
        fill(figure, landscape)


def fill(figure: Figure, landscape: Landscape) -> None:
    """Draw on an empty figure: a row for each surface, a colour bar and what the axes are."""
    surfaces = landscape.surfaces
    caption = textwrap.wrap(describe(landscape), 122)
    foot = _CAPTION_ROW * (len(caption) + 2)
    height = (_ROW_HEIGHT + _TITLE_HEIGHT) * max(1, len(surfaces))
    figure.set_size_inches(WIDTH, height + foot)
    body, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[height, foot])[:, 0]
    below.text(0.012, 0.9, "\n".join(caption), size=SMALL, color=SOFT, va="top")
    scale = scale_of(landscape)
    rows = body.subfigures(max(1, len(surfaces)), 1, squeeze=False)[:, 0]
    for row, surface in zip(rows, surfaces, strict=False):
        _draw_row(row, landscape, surface, scale)


def losses_of(surface: Surface) -> Losses:
    """The losses, shape (axis 0, axis 1), not a number where they are not finite."""
    return np.array(surface.loss, np.float64)


def scale_of(landscape: Landscape) -> Scale:
    """The scale that all surfaces share: logarithmic where losses are positive and far apart."""
    parts = [losses_of(surface).ravel() for surface in landscape.surfaces]
    known = np.concatenate([*parts, np.zeros(0)])
    known = known[np.isfinite(known)]
    if not known.size:
        return Scale(is_log=False, low=0.0, high=1.0)
    low, high = float(known.min()), float(known.max())
    is_log = low > 0 and high > _WIDE * low
    if is_log:
        low, high = math.log10(low), math.log10(high)
    # A plane without any slope still needs an axis with two ends.
    return Scale(is_log, low, high if high > low else low + max(abs(low), 1.0) * 1e-3)


def describe(landscape: Landscape) -> str:
    """What is shown and how it was measured, in a few sentences."""
    first, second = landscape.axes
    unit, middle = SPACES[landscape.space]
    run = landscape.run
    scale = ", on a logarithmic scale" if scale_of(landscape).is_log else ""
    mean = f"mean {legible(text.objective(landscape.objective), 40)} over {text.count(run.samples, 'sample')}"
    said = [
        f"Loss: {mean}{scale}",
        f"α: {legible(first.name, 60)}, β: {legible(second.name, 60)}, {unit}",
        f"The cross marks {middle}",
    ]
    if run.attack is not None:
        said.append(f"Attack: {legible(run.attack, 80)}")
    if any(np.isnan(losses_of(surface)).any() for surface in landscape.surfaces):
        said.append("Holes are where the loss is not finite")
    if landscape.warnings:
        codes = dict.fromkeys(warning.code for warning in landscape.warnings)
        said.append(f"Warnings: {', '.join(legible(code, 40) for code in codes)}")
    return f"{'. '.join(said)}. Seed {run.seed}."


def title_of(landscape: Landscape, surface: Surface) -> str:
    """The model, and the proposal where there are several: foreign text, for whoever shows it to escape."""
    name = model_names([model.file.path for model in landscape.models])[surface.model]
    if all(each.proposal == "none" for each in landscape.surfaces):
        return name
    return f"{name} · {_UNREGULARISED if surface.proposal == 'none' else surface.proposal}"


def curvature_line(curvature: Curvature) -> str:
    """One figure with its interval."""
    said = f"{curvature.measure} {text.figure(curvature.value)}"
    if curvature.interval is None:
        return said
    low, high = curvature.interval
    return f"{said} ({text.figure(low)}–{text.figure(high)})"


def _draw_row(row: SubFigure, landscape: Landscape, surface: Surface, scale: Scale) -> None:
    row.suptitle(
        legible(title_of(landscape, surface), 78), x=0.012, ha="left", size=NORMAL, weight="bold"
    )
    heights = scale.heights(losses_of(surface))
    grid = row.add_gridspec(1, 2, width_ratios=[1.0, 1.12])
    solid = row.add_subplot(grid[0], projection="3d")
    flat = row.add_subplot(grid[1])
    _draw_solid(solid, landscape, heights, scale)
    shades = _draw_flat(flat, landscape, heights, scale)
    bar = row.colorbar(shades, ax=flat, pad=0.02, ticks=scale.ticks(), label="loss")
    bar.set_ticklabels([scale.said(height) for height in scale.ticks()])
    shown = [legible(curvature_line(c), 60) for c in surface.curvatures[:_CURVATURES_SHOWN]]
    flat.set_title("\n".join(shown), size=SMALL, weight="normal", color=SOFT)


def _draw_solid(axes: Any, landscape: Landscape, heights: Losses, scale: Scale) -> None:
    first, second = (np.array(axis.values) for axis in landscape.axes)
    alpha, beta = np.meshgrid(first, second, indexing="ij")
    axes.plot_surface(
        alpha, beta, heights, cmap=COLOURS_OF_LOSS, vmin=scale.low, vmax=scale.high,
        rstride=1, cstride=1, linewidth=0.15, edgecolor=(0, 0, 0, 0.25), antialiased=True,
    )  # fmt: skip
    axes.set(xlabel="α", ylabel="β", zlim=(scale.low, scale.high))
    axes.set(xlim=(first[0], first[-1]), ylim=(second[0], second[-1]))
    axes.locator_params("x", nbins=4)
    axes.locator_params("y", nbins=4)
    axes.set_zticks(scale.ticks(), [scale.said(height) for height in scale.ticks()])
    axes.tick_params(labelsize=SMALL - 0.5, pad=-1)
    axes.view_init(elev=30, azim=-58)
    axes.set_box_aspect(None, zoom=1.08)


def _draw_flat(axes: Axes, landscape: Landscape, heights: Losses, scale: Scale) -> Any:
    first, second = (np.array(axis.values) for axis in landscape.axes)
    levels = np.linspace(scale.low, scale.high, _SHADES + 1)
    # So that rounding leaves neither end outside.
    levels[[0, -1]] += np.array([-1, 1]) * 1e-6 * (scale.high - scale.low)
    known = np.ma.masked_invalid(heights.T)
    axes.set_facecolor(HOLE)
    axes.grid(visible=False)
    shades = axes.contourf(
        first, second, known, levels, cmap=COLOURS_OF_LOSS, vmin=scale.low, vmax=scale.high
    )
    axes.contour(first, second, known, levels[2:-1:2], colors="white", linewidths=0.5)
    axes.plot(0, 0, marker="+", color=INK, markersize=8, markeredgewidth=1.2, path_effects=halo())
    axes.set(xlabel="α", ylabel="β")
    return shades
