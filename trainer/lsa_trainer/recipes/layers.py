"""Which layers a row regularises, out of a scan of the normally trained model."""

from __future__ import annotations

from collections.abc import Collection

from lsa_onnx.errors import DataError
from lsa_onnx.report import Report
from lsa_trainer.recipes.recipe import GROWTH, Row


def layers_of(row: Row, report: Report) -> tuple[str, ...]:
    """Tensors that a row names; none where it has no term or leaves the choice to the MVL list.

    Raises:
        DataError: A place is not one of the scanned layers, or no layer has a growth.
    """
    if row.layers == (GROWTH,):
        return fastest_growing(report, max(len(report.mvl.layers), 1))
    scored = [info.tensor for info in report.layers]
    for place in row.indices or ():
        if place >= len(scored):
            raise DataError(
                f"row {row.name!r} regularises L{place}, and the scan has {len(scored)} layers; give L0 to "
                f"L{len(scored) - 1}"
            )
    return tuple(scored[place] for place in row.indices or ())


def fastest_growing(report: Report, count: int) -> tuple[str, ...]:
    """The layers whose CM exceeds most what feeds them, under the perturbation of the MVL list.

    Raises:
        DataError: No layer has a growth.
    """
    growth = {
        score.tensor: score.growth
        for result in report.perturbations
        if result.name == report.mvl.perturbation
        for score in result.layers
        if score.growth is not None
    }
    if not growth:
        raise DataError("the scan found no growth of any layer; name layers by place, such as L0")
    return tuple(sorted(growth, key=lambda name: -growth[name])[:count])


def places_of(layers: Collection[str], report: Report) -> list[int]:
    """Places of tensors among the scanned layers, in the order of the graph."""
    return [place for place, info in enumerate(report.layers) if info.tensor in layers]
