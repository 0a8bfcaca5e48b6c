"""Small networks in 8 bits, as ONNX Runtime's own quantiser writes them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization

from tests import graphs


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc] # it has no types
    def __init__(self, name: str, batches: list[graphs.Array]) -> None:
        self._feeds = iter([{name: x} for x in batches])

    def get_next(self) -> dict[str, graphs.Array] | None:
        return next(self._feeds, None)


def static(
    proto: onnx.ModelProto, shape: tuple[int, ...], *, pairs: bool = True, **options: Any
) -> onnx.ModelProto:
    """``proto`` between QuantizeLinear and DequantizeLinear ``pairs``, or of QLinear operators."""
    formats = quantization.QuantFormat
    batches = [graphs.samples(seed, *shape) for seed in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        graphs.save(proto, source)
        quantization.quantize_static(
            source,
            target,
            _Calibration(proto.graph.input[0].name, batches),
            quant_format=formats.QDQ if pairs else formats.QOperator,
            **options,
        )
        return onnx.load(target)


def dynamic(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with weights in 8 bits, and scales of the activations drawn in every run."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        graphs.save(proto, source)
        quantization.quantize_dynamic(source, target)
        return onnx.load(target)
