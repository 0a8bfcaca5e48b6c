"""What torch exports today comes back as it was: the same function of the same number of weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.trainer.exported_nets import NETS, exported
from tests.trainer.on_torch import loaded

pytestmark = pytest.mark.slow

# Opsets that the exporters write.
TORCHSCRIPT = range(13, 21)
DYNAMO = range(18, 24)
# BatchNormalizations become biases of convolutions, and output layers of attention lose biases of 0.
MERGED = {"cnn": -16, "encoder": -16, "reader": -8}
HOW = [
    *[(False, opset) for opset in TORCHSCRIPT],
    *[
        pytest.param(
            True,
            opset,
            marks=pytest.mark.skipif(
                find_spec("onnxscript") is None,
                reason="torch's newer exporter needs onnxscript: pip install onnxscript",
            ),
        )
        for opset in DYNAMO
    ],
]


def trained(module: torch.nn.Module) -> torch.nn.Module:
    """Numbers of its own for each layer: exporters merge what is equal, as copies of a layer are.

    Biases of 0 and scales of 1 stay, which exporters merge too, and which are to be told apart again.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            if len(parameter.unique()) > 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def written(name: str, opset: int, *, dynamo: bool) -> int:
    """How many numbers more the file has than the network: exporters merge layers, and take some apart."""
    if dynamo and name in MERGED:
        return MERGED[name]
    if name == "unet" and opset < 21:
        return 4  # a GroupNormalization of two groups is an InstanceNormalization and more
    return 0


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dynamo", "opset"), HOW)
def test_there_and_back(name: str, dynamo: bool, opset: int, tmp_path: Path) -> None:
    if not dynamo and opset < 14 and name in ("encoder", "reader"):
        pytest.skip("attention can be exported from opset 14 on")
    torch.manual_seed(0)
    make, inputs = NETS[name]
    source = trained(make())
    module = loaded(exported(source, inputs(2), opset, dynamo=dynamo), tmp_path)
    for count in (1, 3):
        x = inputs(count)
        with torch.no_grad():
            ours, theirs = module(x), source(x)
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    parameters = sum(p.numel() for p in source.parameters())
    assert module.constants.share == 1
    assert module.constants.trainable == parameters + written(name, opset, dynamo=dynamo)
    running = 4 if name == "cnn" and not dynamo else 0
    assert len(module.statistics()) == running


@pytest.mark.parametrize("name", NETS)
def test_gradients_by_weights_are_those_of_the_source(name: str, tmp_path: Path) -> None:
    """Of all weights that have kept their name."""
    torch.manual_seed(0)
    make, inputs = NETS[name]
    source = trained(make())
    module = loaded(exported(source, inputs(2), 17, dynamo=False), tmp_path)
    x = inputs(3)
    for each in (source, module):
        each(x).square().sum().backward()
    named = dict(source.named_parameters())
    kept = [w.name for w in module.constants.weights if w.name in named]
    assert len(kept) >= 2
    for key in kept:
        torch.testing.assert_close(module.weight(key).grad, named[key].grad, rtol=1e-3, atol=1e-4)
