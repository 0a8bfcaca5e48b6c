"""Operators of which ONNX infers nothing: what is said of them is what ONNX Runtime makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from lsa_onnx.rewrite.objectives import Objective
from lsa_onnx.rewrite.shapes import KnownShapes
from lsa_onnx.rewrite.stand_ins import with_stand_ins
from tests import graphs
from tests.graphs import Array, model, node, samples, value, weight
from tests.rewrite import gradients

ONES = np.ones(4, np.float32)
SKIP = samples(2, 3, 5, 4)
SCALES = {"x scale": 0.1, "x zero": 0, "y scale": 0.2, "y zero": 3}
QUANTISED = {k: np.asarray(v, np.uint8 if "zero" in k else np.float32) for k, v in SCALES.items()}
MICROSOFT = [
    ("BiasGelu", [5, 4], {"b": ONES}, {}),
    ("FastGelu", [5, 4], {}, {}),
    ("Gelu", [5, 4], {}, {}),
    ("QuickGelu", [5, 4], {}, {}),
    ("QLinearLeakyRelu", [5, 4], QUANTISED, {"alpha": 0.1}),
    ("QLinearSigmoid", [5, 4], QUANTISED, {}),
    ("QLinearSoftmax", [5, 4], QUANTISED, {"axis": -1, "opset": 13}),
    ("SkipLayerNormalization", [5, 4], {"skip": SKIP, "s": ONES, "b": ONES}, {}),
    ("SkipSimplifiedLayerNormalization", [5, 4], {"skip": SKIP, "s": ONES}, {}),
    (
        "RotaryEmbedding",
        [2, 5, 4],
        {"at": np.zeros((3, 5), np.int64), "cos": samples(3, 9, 2), "sin": samples(4, 9, 2)},
        {},
    ),
]
