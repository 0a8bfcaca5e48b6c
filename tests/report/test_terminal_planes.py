"""The terminal views of landscapes and decision boundaries: whole output, every width, no name has an effect."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console

from lsa_onnx.report.boundary import Boundary
from lsa_onnx.report.landscape import Curvature, Landscape
from lsa_onnx.report.terminal_boundary import print_boundary
from lsa_onnx.report.terminal_landscape import print_landscape
from tests.report.examples import HOSTILE_NAMES
from tests.report.figures.records import ALPHA, BETA, boundary, landscape, region, surface

HOLE = surface(
    loss=[[None if a > 0 else a for _ in BETA] for a in ALPHA],
    accuracy=None,
    curvatures=[Curvature("bend", "by hand", None, None, 0)],
)


def planes(found: Landscape, width: int = 100) -> list[str]:
    file = io.StringIO()
    print_landscape(found, Console(file=file, width=width))
    return [line.rstrip() for line in file.getvalue().split("\n")]


def regions(found: Boundary, width: int = 100) -> list[str]:
    file = io.StringIO()
    print_boundary(found, Console(file=file, width=width))
    return [line.rstrip() for line in file.getvalue().split("\n")]


def test_a_landscape() -> None:
    found = landscape(surface(), surface(2.0, proposal="mvl", model=1), models=("a.onnx", "b.onnx"))
    assert planes(found) == [
        "Objective cross-entropy around inputs",
        "down: sign of the gradient, -0.2 to 0.2 in units of the range",
        "across: random signs, -0.3 to 0.3 in units of the range",
        "",
        "Surface      Centre Corners Lowest Highest Accuracy  Least",
        "─" * 58,
        "a.onnx        0.100   0.230  0.100   0.230   90.0 % 40.0 %",
        "b.onnx · mvl  0.100   0.360  0.100   0.360   90.0 % 40.0 %",
        "Centre, corners (their mean), extremes: of the mean objective over samples",
        "",
        "Curvature    Measure  Mean  95 % interval  n",
        "─" * 44,
        "a.onnx       largest 2.000 1.500 to 2.500 64",
        "b.onnx · mvl largest 4.000 1.500 to 2.500 64",
        "largest: the eigenvalue of the Hessian",
        "",
        "a.onnx",
        "      -0.3     0   0.3",
        "─" * 22,
        "-0.2 0.230 0.140 0.230",
        "-0.1 0.200 0.110 0.200",
        "   0 0.190 0.100 0.190",
        " 0.1 0.200 0.110 0.200",
        " 0.2 0.230 0.140 0.230",
        "",
        "b.onnx · mvl",
        "      -0.3     0   0.3",
        "─" * 22,
        "-0.2 0.360 0.180 0.360",
        "-0.1 0.300 0.120 0.300",
        "   0 0.280 0.100 0.280",
        " 0.1 0.300 0.120 0.300",
        " 0.2 0.360 0.180 0.360",
        "",
        "Warning few-samples: 64 samples are few.",
        "",
        "Model 1 a.onnx · 12 nodes · 431,080 parameters · opset 17 · SHA-256 3f9ab0c13f9a…",
        "Model 2 b.onnx · 12 nodes · 431,080 parameters · opset 17 · SHA-256 3f9ab0c13f9a…",
        "Data    my images/x.npz · 256 of 10,000 samples · labels",
        "Input   input · range 0 to 1 · mean 0.1307 · std 0.3081 · NCHW · from flags · uint8 pixels were",
        "        scaled to the declared range 0..1",
        "Run     cpu · ONNX Runtime 1.31.1 · pgd, eps 0.3 · seed 7 · 2.5 s",
        "",
        "",
    ]


def test_what_has_no_figure_is_a_gap() -> None:
    lines = planes(landscape(HOLE))
    assert "a.onnx       0       — -0.200       0        —     —" in lines
    assert "a.onnx    bend       —             — 0" in lines
    assert " 0.2      —      —      —" in lines


def test_more_surfaces_than_are_shown_are_counted() -> None:
    lines = planes(landscape(*[surface()] * 6, space="weights"))
    assert "2 further surfaces: use --json, --plot or --html" in lines
    assert lines.count("a.onnx") == 4
    assert "across: random signs, -0.3 to 0.3 times the norm of each filter" in lines


def test_more_maps_than_are_shown_are_counted() -> None:
    lines = regions(boundary(*[region()] * 5))
    assert "1 further map: use --json or --plot" in lines
    assert not [line for line in regions(boundary(*[region()] * 4)) if "further" in line]


def test_a_boundary() -> None:
    found = boundary(
        region(), region(1, accuracy=None, classes=[[0] * 5, [40] * 5, [12] * 5]),
        models=("a.onnx", "b.onnx"),
    )  # fmt: skip
    assert regions(found)[:20] == [
        "Decision boundary",
        "5 × 3 points, first feature -2 to 2 across, second -1 to 1 up",
        "",
        "a.onnx",
        "  accuracy 75.0 % (95 % interval 30.0–95.0 %, n = 4)",
        "  of the plane: class 0: 60.0 % · class 1: 40.0 %",
        "",
        "b.onnx",
        "  accuracy —",
        "  of the plane: class 0: 33.3 % · class 12: 33.3 % · class 40: 33.3 %",
        "",
        "a.onnx",
        "  00011",
        "  00011",
        "  00011",
        "",
        # The second feature grows upwards.
        "b.onnx",
        "  ccccc",
        "  +++++",
        "  00000",
    ]


def test_of_many_classes_the_rest_is_counted() -> None:
    lines = regions(boundary(region(classes=[list(range(i, i + 5)) for i in (0, 5, 10)])))
    assert any(line.endswith("class 9: 6.7 % · 5 more") for line in lines)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("width", [60, 100])
@pytest.mark.parametrize(
    "shown",
    [
        lambda name, width: planes(
            landscape(surface(proposal=name), models=(name,), objective=name), width
        ),
        lambda name, width: regions(boundary(region(), models=(name,)), width),
    ],
    ids=["landscape", "boundary"],
)
def test_no_line_is_wider_than_the_console_nor_holds_a_control(
    shown: Callable[[str, int], list[str]], width: int, name: str
) -> None:
    for line in shown(name, width):
        assert cell_len(line) <= width
        assert not re.search(r"[\x00-\x1f\x7f\u200b\u202e]", line)


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    console = Console(file=file, width=100)
    print_landscape(landscape(surface(proposal="mvl"), HOLE), console)
    print_boundary(boundary(region()), console)
    file.flush()
    assert "a.onnx | mvl" in raw.getvalue().decode("ascii")
