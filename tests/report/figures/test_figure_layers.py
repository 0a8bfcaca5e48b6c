"""CM by layer: lines are the report's means, panels share their scale, every layer is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lsa_onnx.report.document import Report
from lsa_onnx.report.figures import layers
from lsa_onnx.report.figures.drawing import blank_figure
from lsa_onnx.report.figures.names import draw_names, names_height
from lsa_onnx.report.figures.style import colour
from tests.report.examples import PAPER_MEANS, all_reports, large_report, small_report


def drawn(
    reports: Sequence[Report], names: Sequence[str] | None = None, *, laid_out: bool = False
) -> Any:
    """The figure; ``laid_out``, which takes time, for tests of where things are."""
    with blank_figure() as figure:
        layers.fill(figure, reports, names or [f"model {n}" for n in range(len(reports))])
        if laid_out:
            figure.draw_without_rendering()
    return figure


def panels(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.axison]


def line_pairs(panel: Any) -> list[tuple[Any, Any]]:
    """Each perturbation's line with the marks of its MVL list; the last line is the threshold."""
    lines = [line for line in panel.get_lines() if line.get_linestyle() != ":"]
    return list(zip(lines[0:-1:2], lines[1:-1:2], strict=True))


def shown_text(figure: Any) -> str:
    return "\n".join(each.get_text() for axes in figure.axes for each in axes.texts)


def scaled(report: Report, factor: float) -> Report:
    """The report with every mean CM ``factor`` times as large."""
    results = []
    for result in report.perturbations:
        scores = [
            dataclasses.replace(
                s,
                relative_error=dataclasses.replace(
                    s.relative_error,
                    mean=(s.relative_error.mean or 0) * factor,
                    interval=None,
                ),
            )
            for s in result.layers
        ]
        results.append(dataclasses.replace(result, layers=scores))
    return dataclasses.replace(report, perturbations=results)


def test_lines_are_the_means_in_graph_order() -> None:
    (panel,) = panels(drawn([small_report()]))
    for (line, _), means in zip(line_pairs(panel), PAPER_MEANS.values(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), range(4))
        np.testing.assert_allclose(line.get_ydata(), means)


def test_bands_are_the_intervals() -> None:
    report = small_report()
    (panel,) = panels(drawn([report]))
    for band, result in zip(panel.collections, report.perturbations, strict=True):
        corners = band.get_paths()[0].vertices
        for number, score in enumerate(result.layers):
            found = corners[np.isclose(corners[:, 0], number), 1]
            assert (found.min(), found.max()) == pytest.approx(score.relative_error.interval)


def test_large_marks_are_the_mvl_list_and_bold_numbers_that_of_the_scan() -> None:
    report = small_report()
    (panel,) = panels(drawn([report]))
    names = [info.tensor for info in report.layers]
    for (line, marks), result in zip(line_pairs(panel), report.perturbations, strict=True):
        assert sorted(names[int(x)] for x in marks.get_xdata()) == sorted(result.mvl.layers)
        assert marks.get_markersize() > line.get_markersize()
    bold = [t.get_text() for t in panel.get_xticklabels() if t.get_fontweight() == "bold"]
    assert bold == [str(names.index(name)) for name in sorted(report.mvl.layers, key=names.index)]


def test_the_threshold_of_the_scan_is_a_line() -> None:
    report = small_report()
    (panel,) = panels(drawn([report]))
    line = panel.get_lines()[-1]
    assert list(line.get_ydata()) == [report.mvl.threshold] * 2
    assert line.get_color() == colour(0)
    assert "μ + 0.5 σ, pgd" in shown_text(drawn([report]))


def test_top_k_has_no_threshold() -> None:
    report = small_report()
    chosen = dataclasses.replace(report.mvl, rule="top-k", top_k=2)
    figure = drawn([dataclasses.replace(report, mvl=chosen)])
    assert len(panels(figure)[0].get_lines()) == 2 * len(report.perturbations)
    assert "σ" not in shown_text(figure)


def test_before_and_after_have_the_same_axis_and_one_list_of_names() -> None:
    before = small_report()
    figure = drawn([before, scaled(before, 0.4)], ["before", "after"])
    left, right = panels(figure)
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[0] == 0
    assert (left.get_title(loc="left"), right.get_title(loc="left")) == ("before", "after")
    assert shown_text(figure).count("/conv1/Relu_output_0") == 1
    np.testing.assert_allclose(
        line_pairs(right)[0][0].get_ydata(), [0.4 * mean for mean in PAPER_MEANS["pgd"]]
    )


def test_a_perturbation_has_one_colour_in_all_panels() -> None:
    report = small_report()
    turned = dataclasses.replace(report, perturbations=report.perturbations[::-1])
    left, right = panels(drawn([report, turned]))
    first, last = line_pairs(left)[0][0], line_pairs(right)[-1][0]
    assert first.get_color() == last.get_color()
    np.testing.assert_allclose(first.get_ydata(), last.get_ydata())


def test_models_with_other_layers_are_named_apart() -> None:
    figure = drawn([small_report(), large_report(30)], ["small", "large"])
    said = shown_text(figure)
    assert "Layers of small" in said
    assert "Layers of large" in said
    assert said.count("…/stage") == 30


def test_undefined_scores_are_gaps() -> None:
    report = large_report(20)
    (panel,) = panels(drawn([report]))
    means = [score.relative_error.mean for score in report.perturbations[0].layers]
    assert None in means
    expected = [np.nan if mean is None else mean for mean in means]
    np.testing.assert_allclose(line_pairs(panel)[0][0].get_ydata(), expected)


def test_means_far_apart_have_a_logarithmic_axis_in_plain_numbers() -> None:
    report = small_report()
    left, right = panels(drawn([report, scaled(report, 0.01)]))
    assert (left.get_yscale(), right.get_yscale()) == ("log", "log")
    assert left.get_ylabel() == "mean CM, on a logarithmic axis"
    labels = [label.get_text() for label in left.get_yticklabels()]
    assert {"0.01", "0.1", "1"} <= set(labels)
    assert not any("$" in label for label in labels)


@pytest.mark.parametrize("name", all_reports())
def test_every_report_can_be_drawn(name: str) -> None:
    report = all_reports()[name]
    figure = drawn([report], [report.model.file.path])
    (panel,) = panels(figure)
    assert len(line_pairs(panel)) in {0, len(report.perturbations)}
    assert figure.legends[0].get_texts()[0].get_text() if report.perturbations else True
    assert ("no layer was scored" in shown_text(figure)) == (not report.layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", all_reports())
def test_every_report_can_be_laid_out(name: str) -> None:
    report = all_reports()[name]
    figure = drawn([report, report], [report.model.file.path] * 2, laid_out=True)
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.y1 < min(axes.get_window_extent().y0 for axes in figure.axes)
    assert box.x1 <= figure.bbox.x1


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 30, 200])
def test_numbers_on_the_axis_do_not_crowd(count: int) -> None:
    (panel,) = panels(drawn([large_report(count)], laid_out=True))
    boxes = [t.get_window_extent() for t in panel.get_xticklabels() if t.get_visible()]
    assert boxes
    assert all(a.x1 <= b.x0 for a, b in pairwise(boxes))


@pytest.mark.slow
def test_very_many_names_are_cut_short() -> None:
    report = large_report(200)
    figure = drawn([report])
    said = shown_text(figure)
    assert "Layers (the first 150)" in said
    assert said.count("…/stage") == 150
    width, height = figure.get_size_inches()
    assert height < 2 * width


@pytest.mark.slow
def test_names_lie_inside_their_block() -> None:
    figure = drawn([large_report(60)], laid_out=True)
    (block,) = [axes for axes in figure.axes if not axes.axison]
    low, high = block.get_ylim()
    assert (low, high) == (-names_height([i.tensor for i in large_report(60).layers], 7.2), 0)
    assert all(low <= each.get_position()[1] <= high for each in block.texts)
    boxes = [each.get_window_extent() for each in block.texts]
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


@pytest.mark.parametrize(("count", "first"), [(2, "/0/Relu_output_0"), (60, "/0/…")])
def test_names_stay_whole_where_there_is_room(count: int, first: str) -> None:
    with blank_figure() as figure:
        axes = figure.add_subplot()
        draw_names(axes, [f"/{n}/Relu_output_0" for n in range(count)], "Layers", 7.2)
        assert axes.texts[2].get_text() == first
