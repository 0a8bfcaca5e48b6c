"""A decision boundary for a person at a terminal: accuracy, the share of each class, a coarse map."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from lsa_onnx.report import text
from lsa_onnx.report.terminal_landscape import audited_models, print_left_out
from lsa_onnx.report.terminal_paint import Painter
from lsa_onnx.report.terminal_sections import print_sections, print_warnings
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from lsa_onnx.report.boundary import Boundary, Region

_NAME_WIDTH = 36
_MAP_WIDTH, _MAP_HEIGHT = 48, 16
_SHOWN_MAPS = 4
_SHOWN_CLASSES = 10
# What stands for a class in the map; the rest share the last.
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz+"


def print_boundary(boundary: Boundary, console: Console) -> None:
    """Print accuracy and shares of each model, coarse maps of the first ones, and warnings."""
    paint = Painter(console)
    x, y = boundary.xs, boundary.ys
    paint.line("Decision boundary", "bold")
    paint.line(
        f"{len(x)} × {len(y)} points, first feature {text.brief(x[0])} to {text.brief(x[-1])} across, "
        f"second {text.brief(y[0])} to {text.brief(y[-1])} up",
        "dim",
    )
    paint.line()
    for region in boundary.regions:
        _print_region(boundary, region, paint)
    for region in boundary.regions[:_SHOWN_MAPS]:
        _print_map(boundary, region, paint)
    print_left_out(len(boundary.regions) - _SHOWN_MAPS, "further map", "--json or --plot", paint)
    print_warnings(boundary.warnings, paint)
    print_sections(audited_models(boundary.models, boundary.data, boundary.input), paint)


def _name(boundary: Boundary, region: Region) -> str:
    return visible(PurePath(boundary.models[region.model].file.path).name)


def _print_region(boundary: Boundary, region: Region, paint: Painter) -> None:
    paint.line(_name(boundary, region), "bold")
    paint.line(f"  accuracy {text.accuracy(region.accuracy)}")
    shares = class_shares(region)
    parts = [f"class {label}: {text.share(share)}" for label, share in shares[:_SHOWN_CLASSES]]
    if len(shares) > _SHOWN_CLASSES:
        parts.append(f"{len(shares) - _SHOWN_CLASSES} more")
    paint.line(f"  of the plane: {' · '.join(parts)}")
    paint.line()


def class_shares(region: Region) -> list[tuple[int, float]]:
    """Each class that has a part of the plane, and how large that is, in the order of classes."""
    counts = Counter(label for row in region.classes for label in row)
    total = sum(counts.values())
    return [(label, counts[label] / total) for label in sorted(counts)]


def _print_map(boundary: Boundary, region: Region, paint: Painter) -> None:
    """The classes at some points, the second feature growing upwards."""
    paint.line(_name(boundary, region), "bold")
    for i in reversed(_spread(len(boundary.ys), _MAP_HEIGHT)):
        row = [region.classes[i][j] for j in _spread(len(boundary.xs), _MAP_WIDTH)]
        paint.line("  " + "".join(_letter(label) for label in row))
    paint.line()


def _letter(label: int) -> str:
    return _LETTERS[label] if 0 <= label < len(_LETTERS) else _LETTERS[-1]


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` positions from 0 to ``count`` − 1, both ends among them."""
    shown = min(count, most)
    return [round(step * (count - 1) / (shown - 1)) for step in range(shown)]
