"""Landscapes of models that strangers made: what is known of how they were trained must show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.inputs import parse_floats
from lsa_onnx.landscape import LandscapeOptions, input_landscape
from lsa_onnx.report.landscape import Curvature, Surface

pytestmark = [pytest.mark.real, pytest.mark.slow]


def change(surface: Surface) -> Curvature:
    (found,) = [each for each in surface.curvatures if each.measure == "gradient-change"]
    return found


def test_a_model_that_was_trained_for_robustness_bends_less(shared: Path) -> None:
    options = LandscapeOptions(
        data=shared / "data/cifar10-images.tar.gz",
        split="test",
        mean=parse_floats("0.485,0.456,0.406"),
        std=parse_floats("0.225,0.225,0.225"),
        samples=48,
        points=5,
        device="cpu",
    )
    names = ("cifar10-resnet-2b", "cifar10-conv-kw")
    found = input_landscape([shared / "models" / f"{name}.onnx" for name in names], options)
    plain, robust = found.surfaces
    bounds = [change(surface).interval for surface in (plain, robust)]
    assert bounds[0] is not None
    assert bounds[1] is not None
    # 3.8 to 5.2 against 1.3 to 1.9 on 64 samples.
    assert bounds[0][0] > bounds[1][1]
    for surface in (plain, robust):
        loss = np.array(surface.loss, np.float64)
        # Uphill on one side and downhill on the other, far more than at random.
        assert (np.diff(loss, axis=0) > 0).all()
        assert np.abs(loss[2] - loss[2, 2]).max() < 0.2 * (loss[4, 2] - loss[2, 2])


def test_a_saturated_model_is_shown_unsaturated(shared: Path) -> None:
    options = LandscapeOptions(
        data=shared / "data/mnist.npz",
        split="test",
        range=(0.0, 255.0),
        samples=48,
        points=5,
        extent="20%",
        device="cpu",
    )
    found = input_landscape([shared / "models/mnist-cntk.onnx"], options)
    (surface,) = found.surfaces
    loss = np.array(surface.loss, np.float64)
    assert found.axes[0].values == [-51.0, -25.5, 0.0, 25.5, 51.0]
    assert loss[2, 2] < -2000
    assert loss[4, 2] > loss[2, 2] + 2000
    assert {warning.code for warning in found.warnings} == {"vanishing-gradient"}
    value = change(surface).value
    assert value is not None
    assert value > 0
