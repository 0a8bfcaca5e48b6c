"""What documents can do for whoever has one at hand, in a program or a notebook.

The methods only lead to the functions that do the work, in modules that are loaded then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    import pandas as pd
    from matplotlib.figure import Figure


class Readable:
    """A document that can be read as text and kept as a file."""

    def __str__(self) -> str:
        from lsa_onnx.report.plain import as_text

        return as_text(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, of the kind that the ending names.

        An earlier file is replaced only by a complete one.

        Args:
            path: JSON (.json), which is read back by ``lsa_onnx.read_report`` and its like; a page
                (.html) or a figure (.png, .svg, .pdf) of documents that have one; of a scan also a table
                (.csv), a summary (.md) and findings (.sarif).

        Raises:
            DataError: The ending is none of these, what draws is not installed, or the file cannot be
                written.
        """
        from lsa_onnx.report.saving import save

        save(self, path)


class Drawn(Readable):
    """A document that has a figure."""

    def plot(self) -> Figure:
        """A figure of it, by matplotlib.

        In a notebook it shows itself after ``%matplotlib inline``.

        Raises:
            DataError: matplotlib is not installed.
        """
        from lsa_onnx.report.figures.plotting import plotted

        return plotted(self)


class Tabular(Drawn):
    """A document that is a table at heart."""

    def _repr_html_(self) -> str:
        from lsa_onnx.report.html_fragment import render_fragment

        return render_fragment(self)

    def to_dataframe(self) -> pd.DataFrame:
        """Its figures as a pandas frame, in long form; ``lsa_onnx.report.records`` says what the columns hold.

        Raises:
            DataError: pandas is not installed.
        """
        from lsa_onnx.report.frames import frame

        return frame(self)
