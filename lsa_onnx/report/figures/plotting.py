"""Documents as matplotlib figures that the caller keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsa_onnx.report.boundary import Boundary
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.figures import boundary, curves, layers, surfaces
from lsa_onnx.report.figures.drawing import blank_figure, model_names
from lsa_onnx.report.landscape import Landscape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plotted(document: object) -> Figure:
    """The figure that ``save`` would write, for the caller to show or change.

    Raises:
        DataError: matplotlib is not installed.
        TypeError: The document has no figure, a mistake of the caller.
    """
    with blank_figure() as figure:
        if isinstance(document, Report):
            layers.fill(figure, [document], model_names([document.model.file.path]))
        elif isinstance(document, Evaluation | Evaluations):
            several = [document] if isinstance(document, Evaluation) else document.evaluations
            curves.fill(figure, several, model_names([each.model.file.path for each in several]))
        elif isinstance(document, Landscape):
            surfaces.fill(figure, document)
        elif isinstance(document, Boundary):
            boundary.fill(figure, document)
        else:
            raise TypeError(f"a {type(document).__name__} has no figure")
    return figure
