"""Curves: their points are the record's numbers, their legend its scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.figures import curves
from lsa_onnx.report.figures.drawing import blank_figure
from tests.report.evaluations import CLEAN, N, all_evaluations, at_eps, curve, evaluation, sweep
from tests.report.examples import HOSTILE_NAMES


def drawn(evaluations: Sequence[Evaluation], names: Sequence[str] = ("m.onnx",)) -> Any:
    with blank_figure() as figure:
        curves.fill(figure, evaluations, names)
    return figure


def legend(figure: Any) -> list[str]:
    return [each.get_text().strip() for each in figure.legends[0].get_texts()]


def test_a_line_holds_the_accuracies_from_weak_to_strong() -> None:
    (panel,) = drawn([sweep()]).axes
    pgd, square = panel.get_lines()
    np.testing.assert_allclose(pgd.get_xdata(), [0, 8 / 255, 0.3])
    np.testing.assert_allclose(pgd.get_ydata(), [100 * n / N for n in (CLEAN, 65, 3)])
    np.testing.assert_allclose(square.get_ydata(), [100 * n / N for n in (CLEAN, 120, 20)])


def test_a_band_is_the_interval() -> None:
    found = sweep()
    (panel,) = drawn([found]).axes
    band = panel.collections[0].get_paths()[0].vertices
    low, high = found.results[1].interval  # pgd at 8/255
    at = sorted(y for x, y in band if np.isclose(x, 8 / 255))
    np.testing.assert_allclose([at[0], at[-1]], [100 * low, 100 * high])


def test_a_run_without_eps_0_begins_at_the_clean_accuracy_all_the_same() -> None:
    (line,) = curves.lines_of(evaluation([at_eps("pgd", "0.1", 0.1, 65)]), 0)
    assert line.eps == [0, 0.1]
    assert line.accuracy == [99.0, 32.5]


def test_the_legend_has_the_score_of_each_line() -> None:
    found = curve()
    labels = legend(drawn([found]))
    assert len(labels) == len(found.summaries)
    for label, summary in zip(labels, found.summaries, strict=True):
        low, high = summary.interval
        assert label == f"under {summary.attack}: R&G {summary.r_and_g:.1f} ({low:.1f}–{high:.1f})"


def test_models_have_colours_and_attacks_marks() -> None:
    found = drawn([curve("a.onnx"), curve("b.onnx", 20)], ["a.onnx", "b.onnx"])
    lines = found.axes[0].get_lines()
    attacks = len(lines) // 2
    assert attacks >= 2
    assert len({line.get_color() for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == attacks
    assert [label.split()[0] for label in legend(found)] == ["a.onnx"] * attacks + [
        "b.onnx"
    ] * attacks


def test_each_norm_has_a_panel_on_the_same_accuracy() -> None:
    weak = at_eps("pgd", "0.1", 0.1, 65)
    found = drawn([evaluation([weak, dataclasses.replace(weak, norm="l2", eps=1.0)])])
    assert [panel.get_xlabel().split(",")[0] for panel in found.axes] == ["ε (L∞", "ε (L2"]
    assert found.axes[0].get_ylim() == found.axes[1].get_ylim()
    assert legend(found) == ["under pgd (L∞)", "under pgd (L2)"]


@pytest.mark.parametrize("name", all_evaluations())
def test_every_evaluation_can_be_drawn(name: str) -> None:
    found = all_evaluations()[name]
    figure = drawn([found], [found.model.file.path])
    assert sum(len(panel.get_lines()) for panel in figure.axes) == len(
        {(result.attack, result.norm) for result in found.results}
    )


def test_a_model_whose_name_begins_with_an_underscore_is_in_the_legend() -> None:
    labels = legend(drawn([sweep(), sweep()], ["_a", "_b"]))
    assert [label.split()[0] for label in labels] == ["_a", "_a", "_b", "_b"]


def test_the_caption_gives_samples_and_strengths() -> None:
    caption = drawn([curve()]).legends[0].get_title().get_text().replace("\n", " ")
    assert "95 % intervals over 200 samples" in caption
    assert "at ε\N{NO-BREAK SPACE}= 0, 0.0314, 0.3." in caption


@pytest.mark.slow
@pytest.mark.parametrize("names", [HOSTILE_NAMES[:2], ["A", "B"], ["W" * 12, "moon-normal.onnx"]])
@pytest.mark.parametrize("name", all_evaluations())
def test_every_evaluation_can_be_laid_out(name: str, names: list[str]) -> None:
    found = all_evaluations()[name]
    with blank_figure() as figure:
        curves.fill(figure, [found, found], names)
        figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.y1 < figure.axes[0].get_window_extent().y0
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
