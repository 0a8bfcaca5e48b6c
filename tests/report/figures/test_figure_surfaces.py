"""Landscapes in still figures: one scale for all, holes as holes, heights that are the record's losses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.projections import get_projection_class
from matplotlib.text import Text

from lsa_onnx.report.figures import surfaces
from lsa_onnx.report.figures.drawing import blank_figure
from lsa_onnx.report.landscape import Curvature, Landscape
from tests.report.examples import HOSTILE_NAMES
from tests.report.figures.records import ALPHA, BETA, landscape, surface


def drawn(found: Landscape) -> Any:
    with blank_figure() as figure:
        surfaces.fill(figure, found)
    return figure


def solids(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.name == "3d"]


def flats(figure: Any) -> list[Any]:
    return [axes for axes in figure.axes if axes.name != "3d" and axes.get_xlabel() == "α"]


def words(figure: Any) -> str:
    return "\n".join(each.get_text() for each in figure.findobj(Text))


def test_all_surfaces_have_the_same_axes_and_the_same_colours() -> None:
    figure = drawn(landscape(surface(1.0), surface(3.0), surface(0.5)))
    assert len(solids(figure)) == len(flats(figure)) == 3
    high = 0.1 + 3 * (0.2**2 + 0.3**2)
    for solid in solids(figure):
        np.testing.assert_allclose(solid.get_zlim(), (0.1, high))
        np.testing.assert_allclose(solid.get_xlim(), (-0.2, 0.2))
        np.testing.assert_allclose(solid.get_ylim(), (-0.3, 0.3))
    for axes in [*solids(figure), *flats(figure)]:
        np.testing.assert_allclose(axes.collections[0].get_clim(), (0.1, high))


def test_a_contour_has_alpha_across() -> None:
    (flat,) = flats(drawn(landscape(surface())))
    np.testing.assert_allclose(flat.get_xlim(), (ALPHA[0], ALPHA[-1]))
    np.testing.assert_allclose(flat.get_ylim(), (BETA[0], BETA[-1]))


def test_heights_are_the_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, ...]] = []
    kind: Any = get_projection_class("3d")
    real = kind.plot_surface

    def keeping(axes: Any, *arrays: Any, **settings: Any) -> Any:
        given.append(arrays)
        return real(axes, *arrays, **settings)

    monkeypatch.setattr(kind, "plot_surface", keeping)
    tilted = surface(loss=[[10 * i + j + 1.0 for j in range(3)] for i in range(5)])
    drawn(landscape(tilted))
    ((alpha, beta, heights),) = given
    for i, j in ((0, 0), (4, 0), (0, 2)):
        assert (alpha[i, j], beta[i, j], heights[i, j]) == (ALPHA[i], BETA[j], 10 * i + j + 1)


def test_holes_stay_holes_and_are_said() -> None:
    rows: list[list[float | None]] = [list(row) for row in surface().loss]
    rows[0][0] = None
    found = landscape(surface(loss=rows))
    assert np.isnan(surfaces.losses_of(found.surfaces[0])).sum() == 1
    assert "Holes are where the loss is not finite" in surfaces.describe(found)
    assert "Holes" not in surfaces.describe(landscape(surface()))
    whole, holed = (
        sum(path.vertices.shape[0] for path in flats(drawn(each))[0].collections[0].get_paths())
        for each in (landscape(surface()), found)
    )
    assert holed != whole


def test_losses_far_apart_are_on_a_logarithmic_scale() -> None:
    found = landscape(surface(loss=[[10.0 ** (i - 2) for _ in BETA] for i in range(5)]))
    scale = surfaces.scale_of(found)
    assert scale.is_log
    np.testing.assert_allclose((scale.low, scale.high), (-2, 2))
    assert [scale.said(height) for height in (-2, 0, 2)] == ["0.01", "1", "100"]
    assert len(scale.ticks()) <= 7
    assert "logarithmic" in surfaces.describe(found)


@pytest.mark.parametrize(
    "losses",
    [
        [[0.0 if (i, j) == (2, 1) else 100.0 for j in range(3)] for i in range(5)],
        [[-5.0 * i - j for j in range(3)] for i in range(5)],
    ],
    ids=["zero", "negative"],
)
def test_losses_that_have_no_logarithm_are_on_a_linear_scale(losses: list[list[float]]) -> None:
    found = landscape(surface(loss=losses))
    scale = surfaces.scale_of(found)
    assert not scale.is_log
    assert scale.said(scale.low) == f"{min(map(min, losses)):g}".replace("-", "−")
    assert "logarithmic" not in surfaces.describe(found)


@pytest.mark.parametrize("loss", [0.0, 0.3, None], ids=str)
def test_a_plane_without_slope_or_without_losses_can_be_drawn(loss: float | None) -> None:
    figure = drawn(landscape(surface(loss=[[loss for _ in BETA] for _ in ALPHA])))
    low, high = solids(figure)[0].get_zlim()
    assert low < high


def test_a_landscape_without_surfaces_is_a_caption() -> None:
    assert "cross-entropy" in words(drawn(landscape()))


def test_objectives_and_large_losses_are_written_out() -> None:
    assert "mean unsaturated cross-entropy over" in surfaces.describe(
        landscape(surface(), objective="ce")
    )
    assert "mean output over" in surfaces.describe(landscape(surface(), objective="output"))
    assert surfaces.Scale(is_log=False, low=-4000.0, high=0.0).said(-4000.0) == "−4000"


def test_titles_name_the_model_and_the_proposal() -> None:
    found = landscape(
        surface(), surface(model=1, proposal="/conv1/Relu alone"), models=("x/a.onnx", "y/a.onnx")
    )
    titles = [surfaces.title_of(found, each) for each in found.surfaces]
    assert titles == ["x/a.onnx · no layer regularised", "y/a.onnx · /conv1/Relu alone"]
    assert surfaces.title_of(landscape(surface()), surface()) == "a.onnx"
    assert all(title in words(drawn(found)) for title in titles)


def test_curvatures_and_the_way_it_was_measured_are_there() -> None:
    weights = Curvature("smallest", "…", None, None, 1)
    both = surface(curvatures=[*surface().curvatures, weights])
    said = words(drawn(landscape(both, space="weights")))
    assert "largest 2.000 (1.500–2.500)" in said
    assert "smallest —" in said
    for fact in (
        "64 samples",
        "Seed 7",
        "pgd, eps 0.3",
        "norm of each filter",
        "random signs",
        "few-samples",
    ):
        assert fact in said.replace("\n", " ")


@pytest.mark.slow
def test_hostile_names_are_letters() -> None:
    name = "$\\frac{" + HOSTILE_NAMES[3]
    found = landscape(surface(proposal=name), models=(name,), objective=name)
    found = dataclasses.replace(
        found, axes=(dataclasses.replace(found.axes[0], name=name), found.axes[1])
    )
    figure = drawn(found)
    figure.draw_without_rendering()
    assert "\\x1b" in words(figure)
    assert "\x1b" not in words(figure)


@pytest.mark.slow
def test_equal_landscapes_are_equal_files(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        surfaces.draw_surfaces(landscape(surface()), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
