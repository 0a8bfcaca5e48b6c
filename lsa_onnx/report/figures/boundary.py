"""What models of two features say over their plane: regions, boundary and samples (Khalooei et al. 2023, Fig. 7)."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.report import text
from lsa_onnx.report.figures.drawing import drawn_to, legible, model_names
from lsa_onnx.report.figures.style import (
    INK,
    MARKS,
    SMALL,
    SOFT,
    WIDTH,
    colour,
    halo,
)

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lsa_onnx.report.boundary import Boundary, Region

_MOST_COLUMNS = 3
_HEAD = 0.55
_FOOT_ROW = 0.16
_LEAST_RATIO, _MOST_RATIO = 0.4, 1.6
# How much of its colour a region has on the boundary, and where the model is surest.
_FAINT, _FULL = 0.12, 0.62
# Margins beyond this quantile of a model's own are one shade: a few far points would leave the rest without.
_SUREST = 0.95
_MOST_CLASSES_NAMED = 12

Grid = NDArray[Any]


def draw_boundary(boundary: Boundary, path: str | os.PathLike[str]) -> None:
    """Draw the regions of each model on the same axes, with the samples, to a png, svg or pdf file.

    Raises:
        DataError: It cannot be drawn or written.
    """
    with drawn_to(path) as figure:
        fill(figure, boundary)


def fill(figure: Figure, boundary: Boundary) -> None:
    """Draw on an empty figure: a panel for each model, one legend of the classes."""
    count = max(1, len(boundary.regions))
    columns = 2 if count == 4 else min(count, _MOST_COLUMNS)
    rows = -(-count // columns)
    known = _classes(boundary)
    caption = textwrap.fill(_caption(boundary), 118)
    foot = _FOOT_ROW * (caption.count("\n") + 2 - (-min(len(known), _MOST_CLASSES_NAMED) // 6))
    panel_height = (WIDTH - 0.6) / max(columns, 2) * _ratio(boundary) + _HEAD
    # What "constrained" leaves empty between panels of a fixed aspect, "compressed" does not.
    figure.set_layout_engine("compressed")
    figure.set_size_inches(WIDTH, rows * panel_height + foot)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    names = model_names([model.file.path for model in boundary.models])
    for at, (panel, region) in enumerate(zip(panels, boundary.regions, strict=False)):
        _draw_region(panel, boundary, region)
        _label_axes(panel, is_left=at % columns == 0, is_lowest=at + columns >= count)
        _draw_samples(panel, boundary)
        _draw_eps(panel, boundary)
        _head(panel, region, legible(names[region.model], int(11 * WIDTH / max(columns, 2))))
    for panel in panels[len(boundary.regions) :]:
        panel.set_axis_off()
    _add_legend(figure, known, caption)


def shades_of(region: Region) -> Grid:
    """The colour of each point, shape (ys, xs, 3) in 0..1: its class, stronger with the margin."""
    from matplotlib.colors import to_rgb

    classes = np.array(region.classes, np.int64)
    found, places = np.unique(classes, return_inverse=True)
    palette = np.array([to_rgb(colour(int(each))) for each in found]).reshape(-1, 3)
    strength = np.full(classes.shape, (_FAINT + _FULL) / 2)
    if region.margin is not None:
        margin = np.array(region.margin, np.float64)
        surest = np.quantile(margin, _SUREST) if margin.size else 0.0
        share = np.clip(margin / surest, 0, 1) if surest > 0 else np.zeros(margin.shape)
        strength = _FAINT + (_FULL - _FAINT) * share
    # The shape of the places differs between releases of numpy.
    mixed: Grid = 1 - strength[..., None] * (1 - palette[places.reshape(classes.shape)])
    return mixed


def _draw_region(panel: Axes, boundary: Boundary, region: Region) -> None:
    """Shades, and the line on which the two best scores are equal."""
    panel.grid(visible=False)
    # Each point of the grid is the middle of its cell; beyond the axes there are halves of cells.
    panel.pcolormesh(
        boundary.xs, boundary.ys, shades_of(region), shading="nearest", rasterized=True
    )
    panel.set(xlim=_ends(boundary.xs), ylim=_ends(boundary.ys), aspect="equal")
    classes = np.array(region.classes)
    found = np.unique(classes)
    margin = 1.0 if region.margin is None else np.array(region.margin)
    # Two classes share one line; with more of them each has its own.
    for each in found[1:]:
        signed = np.where(classes == each, margin, -margin)
        panel.contour(boundary.xs, boundary.ys, signed, [0.0], colors=INK, linewidths=1.1)


def _label_axes(panel: Axes, *, is_left: bool, is_lowest: bool) -> None:
    panel.tick_params(labelleft=is_left, labelbottom=is_lowest)
    panel.set_ylabel("second feature" if is_left else "")
    panel.set_xlabel("first feature" if is_lowest else "")


def _ends(values: list[float]) -> tuple[float, float]:
    return values[0], values[-1]


def _draw_samples(panel: Axes, boundary: Boundary) -> None:
    points = np.array(boundary.points, np.float64).reshape(-1, 2)
    labels = np.zeros(len(points), np.int64) if boundary.labels is None else boundary.labels
    size = float(np.clip(1600 / max(len(points), 1), 3, 16))
    for each in np.unique(labels):
        mine = points[np.asarray(labels) == each]
        face = SOFT if boundary.labels is None else colour(each)
        panel.scatter(
            mine[:, 0], mine[:, 1], s=size, marker=MARKS[each % len(MARKS)], color=face,
            edgecolors="white", linewidths=0.35, zorder=3,
        )  # fmt: skip


def _draw_eps(panel: Axes, boundary: Boundary) -> None:
    """The square that an attack may reach, in a corner: it is for scale and around no sample."""
    if boundary.eps is None:
        return
    from matplotlib.patches import Rectangle

    side, ((left, right), (low, high)) = 2 * boundary.eps, map(_ends, (boundary.xs, boundary.ys))
    gap = 0.03 * min(right - left, high - low)
    square = Rectangle((right - gap - side, low + gap), side, side, fill=False, edgecolor=INK)
    square.set(linewidth=1, zorder=4, path_effects=halo())
    panel.add_patch(square)
    panel.annotate(
        f"ε = {boundary.eps:.3g}",
        (right - gap, low + gap + side),
        (0, 3),
        textcoords="offset points",
        size=SMALL,
        ha="right",
        zorder=4,
        path_effects=halo(),
    )


def _head(panel: Axes, region: Region, name: str) -> None:
    panel.set_title(name, pad=15)
    if region.accuracy is not None:
        low, high = region.accuracy.interval
        said = f"accuracy {text.share(region.accuracy.value)} ({text.shares((low, high))})"
        panel.annotate(
            said, (0, 1), (0, 4), "axes fraction", "offset points", color=SOFT, size=SMALL
        )


def _ratio(boundary: Boundary) -> float:
    """Height over width of a panel, within what a page bears."""
    (left, right), (low, high) = _ends(boundary.xs), _ends(boundary.ys)
    ratio = (high - low) / (right - left) if right > left else 1.0
    return float(np.clip(ratio, _LEAST_RATIO, _MOST_RATIO))


def _classes(boundary: Boundary) -> list[int]:
    """Every class that a model says or a sample has."""
    said = [np.unique(np.array(region.classes, np.int64)) for region in boundary.regions]
    return [int(each) for each in np.unique(np.concatenate([*said, boundary.labels or []]))]


def _caption(boundary: Boundary) -> str:
    said = ["Lines are where a model changes its class"]
    if any(region.margin is not None for region in boundary.regions):
        said.append(
            "Shades grow with the margin, the distance of the two best scores, up to the 95 % quantile of "
            "each model"
        )
    if boundary.points:
        said.append(f"Marks are the {text.count(len(boundary.points), 'sample')}")
    if boundary.eps is not None:
        said.append("The square is what an attack within ε (L∞) reaches around its centre")
    return f"{'. '.join(said)}."


def _add_legend(figure: Figure, known: list[int], caption: str) -> None:
    from matplotlib.lines import Line2D

    shown = known[:_MOST_CLASSES_NAMED]
    handles = [
        Line2D([], [], color=colour(each), marker=MARKS[each % len(MARKS)], linestyle="none")
        for each in shown
    ]
    figure.legend(
        handles,
        [f"class {each}" for each in shown],
        loc="outside lower left",
        ncols=6,
        title=caption,
        title_fontsize=SMALL,
        alignment="left",
    )
