"""Documents as pandas frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsa_onnx.errors import DataError
from lsa_onnx.report.document import Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.records import (
    LAYER_COLUMNS,
    STRENGTH_COLUMNS,
    layer_records,
    model_records,
    strength_records,
)

if TYPE_CHECKING:
    import pandas as pd

# Records of a document, and the types of their columns.
_SOURCES: dict[type, tuple[Any, dict[str, type]]] = {
    Evaluation: (strength_records, STRENGTH_COLUMNS),
    Evaluations: (model_records, {"model": str, **STRENGTH_COLUMNS}),
    Report: (layer_records, LAYER_COLUMNS),
}
# Pandas' own integers know a missing one.
_DTYPES = {int: "Int64", float: "float64", bool: "bool", str: "object"}


def frame(document: object) -> pd.DataFrame:
    """The records of a document as a frame: texts as Python's, whole numbers as ``Int64``, a missing figure as NaN.

    Raises:
        DataError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise DataError(
            "a frame needs pandas, which cannot be imported here; install it with: "
            "pip install 'lsa-onnx[notebook]'"
        ) from error
    records, columns = _SOURCES[type(document)]
    types = {name: _DTYPES[kind] for name, kind in columns.items()}
    return pd.DataFrame(list(records(document)), columns=list(columns)).astype(types)
