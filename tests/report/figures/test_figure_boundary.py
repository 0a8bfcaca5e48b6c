"""Decision boundaries: shades, lines and marks are where the record has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.patches import Rectangle

from lsa_onnx.report.boundary import Boundary
from lsa_onnx.report.figures import boundary as figures
from lsa_onnx.report.figures.drawing import blank_figure
from lsa_onnx.report.figures.style import colour
from tests.report.figures.records import XS, YS, boundary, region


def drawn(found: Boundary) -> Any:
    with blank_figure() as figure:
        figures.fill(figure, found)
    return figure


def lines(panel: Any) -> list[Any]:
    return [each for each in panel.collections if isinstance(each, ContourSet)]


def squares(panel: Any) -> list[Any]:
    return [each for each in panel.patches if isinstance(each, Rectangle)]


def test_the_boundary_is_where_the_margin_vanishes() -> None:
    (panel,) = drawn(boundary(region())).axes
    (line,) = lines(panel)
    corners = np.concatenate([path.vertices for path in line.get_paths()])
    np.testing.assert_allclose(corners[:, 0], 0.5)
    assert corners[:, 1].min() == YS[0]
    assert corners[:, 1].max() == YS[-1]


def test_without_margins_it_is_midway() -> None:
    (panel,) = drawn(boundary(region(margin=None))).axes
    corners = np.concatenate([path.vertices for path in lines(panel)[0].get_paths()])
    np.testing.assert_allclose(corners[:, 0], 0.5)


def test_every_class_but_one_has_a_line() -> None:
    three = region(classes=[[0, 0, 1, 2, 2] for _ in YS], margin=None)
    (panel,) = drawn(boundary(three)).axes
    assert len(lines(panel)) == 2


def test_one_class_everywhere_has_no_line() -> None:
    (panel,) = drawn(boundary(region(classes=[[0] * len(XS) for _ in YS]))).axes
    assert lines(panel) == []


def test_shades_are_the_colour_of_the_class_and_grow_with_the_margin() -> None:
    shades = figures.shades_of(region())
    assert shades.shape == (len(YS), len(XS), 3)
    darkness = 1 - shades
    for x, line in ((0, 0), (4, 1)):
        ink = 1 - np.array(to_rgb(colour(line)))
        np.testing.assert_allclose(darkness[0, x] / darkness[0, x].max(), ink / ink.max())
    # Margins 2.5, 1.5, .5 of class 0.
    assert (np.diff(darkness[0, :3].sum(axis=1)) < 0).all()


def test_shades_without_margins_or_with_none_are_even() -> None:
    for margin in (None, [[0.0] * len(XS) for _ in YS]):
        shades = figures.shades_of(region(margin=margin))
        assert len(np.unique(shades.reshape(-1, 3), axis=0)) == 2


def test_a_class_of_any_number_has_a_shade() -> None:
    assert figures.shades_of(region(classes=[[10**9] * len(XS) for _ in YS])).shape == (3, 5, 3)


def test_samples_are_marked_by_class() -> None:
    found = boundary(region())
    (panel,) = drawn(found).axes
    marks = [
        each for each in panel.collections if hasattr(each, "get_sizes") and len(each.get_offsets())
    ]
    marks = [each for each in marks if not isinstance(each, ContourSet)][-2:]
    for label, mark in enumerate(marks):
        mine = [p for p, own in zip(found.points, found.labels or [], strict=True) if own == label]
        np.testing.assert_allclose(mark.get_offsets(), mine)
        np.testing.assert_allclose(mark.get_facecolor()[0, :3], to_rgb(colour(label)))


@pytest.mark.parametrize("labels", [None, [3, 3, 0, 11]], ids=["unlabelled", "unsaid classes"])
def test_labels_may_be_missing_or_such_as_no_model_says(labels: list[int] | None) -> None:
    figure = drawn(boundary(region(), labels=labels))
    said = [each.get_text() for each in figure.legends[0].get_texts()]
    assert said == [f"class {each}" for each in sorted({0, 1, *(labels or [])})]


def test_no_samples_are_no_trouble() -> None:
    caption = drawn(boundary(region(), points=[], labels=[])).legends[0].get_title().get_text()
    assert "Marks" not in caption


def test_the_square_has_the_size_of_eps() -> None:
    (panel,) = drawn(boundary(region())).axes
    (square,) = squares(panel)
    assert (square.get_width(), square.get_height()) == (0.5, 0.5)
    assert square.get_x() + square.get_width() < XS[-1]
    assert "ε = 0.25" in [each.get_text() for each in panel.texts]
    (panel,) = drawn(boundary(region(), eps=None)).axes
    assert squares(panel) == []


def test_models_are_side_by_side_on_the_same_axes() -> None:
    found = boundary(region(0), region(1, accuracy=None), models=("before.onnx", "after.onnx"))
    left, right = drawn(found).axes
    assert (left.get_xlim(), left.get_ylim()) == (right.get_xlim(), right.get_ylim())
    assert left.get_xlim() == (XS[0], XS[-1])
    assert [each.get_title(loc="left") for each in (left, right)] == ["before.onnx", "after.onnx"]
    assert "accuracy 75.0 % (30.0–95.0 %)" in [each.get_text() for each in left.texts]
    assert not any("accuracy" in each.get_text() for each in right.texts)


def test_five_models_take_two_rows_and_leave_a_place_empty() -> None:
    regions = [region(number, classes=[[0, 1, 1, 1, 1]] * 3, margin=None) for number in range(5)]
    figure = drawn(boundary(*regions, models=tuple(f"m{n}.onnx" for n in range(5))))
    assert [axes.axison for axes in figure.axes] == [True] * 5 + [False]
    # Those with nothing below them are labelled.
    assert [bool(axes.get_xlabel()) for axes in figure.axes[:5]] == [False, False, True, True, True]


@pytest.mark.slow
def test_hostile_names_are_letters() -> None:
    figure = drawn(boundary(region(), models=("$x_{\x1b.onnx",)))
    figure.draw_without_rendering()
    assert figure.axes[0].get_title(loc="left") == "$x_{\\x1b.onnx"
