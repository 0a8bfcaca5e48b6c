"""Landscapes and decision boundaries with figures that are known by hand, for the tests of what draws them."""

from __future__ import annotations

import dataclasses
from typing import Any

from lsa_onnx.report.boundary import Boundary, Region
from lsa_onnx.report.landscape import Axis, Curvature, Landscape, LandscapeRun, Surface
from lsa_onnx.report.sections import Accuracy, ReportWarning
from tests.report.parts import data_section, input_section, model_section

ALPHA = [-0.2, -0.1, 0.0, 0.1, 0.2]
BETA = [-0.3, 0.0, 0.3]
XS = [-2.0, -1.0, 0.0, 1.0, 2.0]
YS = [-1.0, 0.0, 1.0]


def surface(steep: float = 1.0, **changes: Any) -> Surface:
    """A bowl: the loss is .1 + steep (α² + β²)."""
    plain = Surface(
        model=0,
        proposal="none",
        gammas={},
        loss=[[0.1 + steep * (a * a + b * b) for b in BETA] for a in ALPHA],
        accuracy=[[0.9 - abs(a) - abs(b) for b in BETA] for a in ALPHA],
        curvatures=[
            Curvature("largest", "the eigenvalue of the Hessian", 2 * steep, (1.5, 2.5), 64)
        ],
    )
    return dataclasses.replace(plain, **changes)


def landscape(
    *surfaces: Surface, models: tuple[str, ...] = ("a.onnx",), **changes: Any
) -> Landscape:
    """A landscape in input space."""
    plain = Landscape(
        tool_version="0.1.0",
        created="2025-03-14T15:09:26Z",
        space="input",
        objective="cross-entropy",
        models=[model_section(path) for path in models],
        input=input_section(),
        data=data_section(),
        run=LandscapeRun(
            7, 64, "pgd, eps 0.3", "cpu", "1.31.1", None, "3.11.9", "Linux", 2.5,
            ["lsa-onnx", "landscape", "a.onnx"],
        ),
        axes=(Axis("sign of the gradient", ALPHA), Axis("random signs", BETA)),
        surfaces=list(surfaces),
        warnings=[ReportWarning("few-samples", "64 samples are few.")],
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def region(model: int = 0, **changes: Any) -> Region:
    """Class 1 where the first feature is above 0; the margin is the distance from there."""
    plain = Region(
        model=model,
        classes=[[int(x > 0.5) for x in XS] for _ in YS],
        margin=[[abs(x - 0.5) for x in XS] for _ in YS],
        accuracy=Accuracy(0.75, 4, (0.3, 0.95)),
    )
    return dataclasses.replace(plain, **changes)


def boundary(
    *regions: Region, models: tuple[str, ...] = ("moon.onnx",), **changes: Any
) -> Boundary:
    """Four samples over the plane of ``XS`` and ``YS``."""
    plain = Boundary(
        tool_version="0.1.0",
        created="2025-03-14T15:09:26Z",
        models=[model_section(path) for path in models],
        input=input_section(),
        data=data_section(),
        xs=XS,
        ys=YS,
        points=[(-1.5, 0.2), (-0.5, -0.2), (1.0, 0.5), (0.2, 0.9)],
        labels=[0, 0, 1, 1],
        eps=0.25,
        regions=list(regions),
        seed=0,
        command=[],
        warnings=[],
    )
    return dataclasses.replace(plain, **changes)
