"""Which operators change on the way to opset 18, and who rewrites them.

An operator that is not listed means the same in opset 18 as in opset 7: what was added since is an
attribute or an input that may be left out, or element types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lsa_onnx.rewrite.modernise import axes, elementwise, experimental, inference, resampling, rows
from lsa_onnx.rewrite.modernise.builder import Builder, Converter, Unraisable

if TYPE_CHECKING:
    import onnx

# Operators that ONNX Runtime knows in the default domain beside those of ONNX, of any opset: it
# writes them into models that it optimises. LayerNormalization joined ONNX, unchanged, in opset 17.
RUNTIME_ONLY = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})


def _batched_scan(_node: onnx.NodeProto, _build: Builder) -> None:
    raise Unraisable("a Scan of opset 8 runs over a batch")


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")

# Operator → (opset, how a node of an older one is written in opset 18), oldest first: the first
# opset that is newer than the model's decides.
CONVERTERS: Mapping[str, Sequence[tuple[int, Converter]]] = {
    "Affine": [(10, experimental.affine)],
    "BatchNormalization": [
        (9, inference.batch_normalization_per_activation),
        (14, inference.batch_normalization),
    ],
    "Clip": [(11, elementwise.clip)],
    "Dropout": [(10, inference.dropout_with_typed_mask), (12, inference.dropout)],
    "Hardmax": [(13, rows.of_matrix)],
    "ImageScaler": [(10, experimental.image_scaler)],
    "LogSoftmax": [(13, rows.of_matrix)],
    "Pad": [(11, axes.pad)],
    "ParametricSoftplus": [(10, experimental.parametric_softplus)],
    **{f"Reduce{name}": [(18, axes.axes_to_input)] for name in _REDUCTIONS},
    "ReduceSum": [(13, axes.axes_to_input)],
    "Resize": [(11, resampling.resize_without_modes), (18, resampling.resize)],
    "RoiAlign": [(16, resampling.roi_align)],
    "Scale": [(10, experimental.scale)],
    "ScaledTanh": [(10, experimental.scaled_tanh)],
    "Scan": [(9, _batched_scan)],
    "Scatter": [(11, elementwise.scatter)],
    "Slice": [(10, axes.slice_)],
    "Softmax": [(13, rows.of_matrix)],
    "Split": [(13, axes.split), (18, axes.split_evenly)],
    "Squeeze": [(13, axes.axes_to_input)],
    "ThresholdedRelu": [(10, experimental.thresholded_relu)],
    "TopK": [(10, axes.top_k)],
    "Unsqueeze": [(13, axes.axes_to_input)],
    "Upsample": [(9, resampling.upsample_by_attribute), (10, resampling.upsample)],
}
