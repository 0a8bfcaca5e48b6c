"""The input side: what the numbers mean (``InputSpec``), and the data themselves (``Dataset``)."""

from __future__ import annotations

from lsa_onnx.inputs.dataset import Dataset
from lsa_onnx.inputs.held import held_rows, held_whole, parse_hold
from lsa_onnx.inputs.ids import Ids
from lsa_onnx.inputs.memory import Arrays, Data, as_source
from lsa_onnx.inputs.opening import open_data
from lsa_onnx.inputs.pairs import open_perturbed
from lsa_onnx.inputs.sidecar import load_spec, sidecar_path, write_sidecar
from lsa_onnx.inputs.spec import (
    InputSpec,
    Layout,
    SampleShape,
    as_layout,
    channel_count,
    parse_floats,
    parse_range,
    resolve_layout,
)
from lsa_onnx.inputs.synthetic import synthetic_data, synthetic_ids

__all__ = [
    "Arrays",
    "Data",
    "Dataset",
    "Ids",
    "InputSpec",
    "Layout",
    "SampleShape",
    "as_layout",
    "as_source",
    "channel_count",
    "held_rows",
    "held_whole",
    "load_spec",
    "open_data",
    "open_perturbed",
    "parse_floats",
    "parse_hold",
    "parse_range",
    "resolve_layout",
    "sidecar_path",
    "synthetic_data",
    "synthetic_ids",
    "write_sidecar",
]
