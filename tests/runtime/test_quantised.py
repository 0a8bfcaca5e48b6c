"""Models as ONNX Runtime's own quantiser writes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime import quantization

from lsa_onnx.layers import plan_layers
from lsa_onnx.model import load_model
from lsa_onnx.runtime.inspection import survey
from tests import graphs
from tests.graphs import samples, save
from tests.runtime.rig import CPU, build


class _Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._batches: Iterator[Any] = iter([{"x": samples(i, 2, 3, 5, 7)} for i in range(3)])

    def get_next(self) -> Any:
        return next(self._batches, None)


@pytest.fixture(params=["QDQ", "QOperator"])
def static(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, onnx.ModelProto]:
    monkeypatch.setattr(logging.root, "disabled", True)
    source, target = save(graphs.conv_net(13), tmp_path / "float.onnx"), tmp_path / "int8.onnx"
    quantization.quantize_static(
        source,
        target,
        _Calibration(),
        quant_format=quantization.QuantFormat[request.param],
    )
    return request.param, onnx.load(target)


@pytest.mark.filterwarnings("ignore")
def test_layers_are_read_where_they_are_floating_point(
    static: tuple[str, onnx.ModelProto], tmp_path: Path
) -> None:
    kind, proto = static
    model = load_model(save(proto, tmp_path / "m.onnx"))
    plan = plan_layers(survey(model.proto, tmp_path, CPU))
    reasons = {item.tensor: item.reason for item in plan.not_scored}
    if kind == "QDQ":
        # The weights are counted behind their DequantizeLinear.
        found = [(info.tensor, info.learnable, info.parameters) for info in plan.layers]
        assert found == [("relu_DequantizeLinear_Output", ["n_conv"], 4 * 3 * 3 * 3)]
        where = "scored as 'relu_DequantizeLinear_Output' after DequantizeLinear"
        assert reasons["relu_QuantizeLinear_Output"] == f"quantised: {where}"
    else:
        assert [(info.tensor, info.dtype, info.reading) for info in plan.layers] == [
            ("conv_quantized", "int8", "through its scale 'conv_scale'")
        ]


@pytest.mark.filterwarnings("ignore")
def test_every_float_tensor_is_scored_like_numpy(
    static: tuple[str, onnx.ModelProto], tmp_path: Path
) -> None:
    _, proto = static
    x = samples(1, 4, 3, 5, 7)
    rig = build(proto, {"x": x}, tmp_path)
    assert "y" in rig.scored
    x_adv = x * np.float32(0.5)
    batch, expected = rig.score({"x": x}, x_adv), rig.reference({"x": x}, x_adv)
    for index, name in enumerate(rig.scored):
        # The integer kernels of a fused graph may round the other way: one step of the scale.
        np.testing.assert_allclose(batch.sums.clean[:, index], expected[name][:, 1], rtol=0.03)
        np.testing.assert_allclose(batch.sums.difference[:, index], expected[name][:, 0], rtol=0.1)
