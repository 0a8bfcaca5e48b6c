"""Models of strangers in torch: the tensors of ONNX Runtime, and the gradients of adjoint rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.model import Model, load_model, with_weights
from lsa_onnx.rewrite.graph import dimensions, true_inputs
from lsa_trainer import load
from lsa_trainer.hardening.parity import differences
from tests.conformance.cases import Case
from tests.conformance.two_gradients import apart
from tests.graphs import Array, run
from tests.trainer.on_torch import run_torch

pytestmark = pytest.mark.real

# Model → how many numbers train: all that its layers have.
TRAINABLE = {
    "acasxu-1-1": 13_305,
    "cgan-32": 528_386,
    "cifar10-conv-kw": 105_966,
    "cifar10-resnet-2b": 112_006,
    "cifar10-resnet-4b": 123_734,
    "cifar10-tf-nhwc-small": 85_218,
    "cifar10-vit-pgd": 75_706,
    "collins-rul-small": 60_826,
    "mnist-cntk": 5_994,
    "mnist-mlp-256x2": 269_322,
    "mnist-mlp-256x4": 400_906,
    "mnist-relu-9x200": 440_410,
    "pensieve-small-parallel": 103_180,
    "ultraface-rfb-320": 300_408,
}
# Its leading dimension is no batch.
NATIVE = {"pensieve-small-parallel"}
LARGE = {"ultraface-rfb-320"}
EACH = [pytest.param(n, marks=pytest.mark.slow) if n in LARGE else n for n in TRAINABLE]


def path_of(shared: Path, name: str) -> Path:
    return shared / "models" / f"{name}.onnx"


def feeds_for(model: Model, batch: int | None = None, seed: int = 0) -> dict[str, Array]:
    """Random inputs; ``batch`` in place of the leading dimension, 3 where it is free."""
    rng, feeds = np.random.default_rng(seed), {}
    for value in true_inputs(model.proto.graph):
        shape: list[Any] = [d if isinstance(d, int) else 3 for d in dimensions(value) or []]
        shape[0] = batch or shape[0]
        feeds[value.name] = rng.random(shape).astype(np.float32)
    return feeds


def test_all_models_are_here(shared: Path) -> None:
    assert {path.stem for path in (shared / "models").glob("*.onnx")} == set(TRAINABLE)


@pytest.mark.parametrize("name", EACH)
def test_every_tensor_and_every_weight(name: str, shared: Path) -> None:
    path = path_of(shared, name)
    module = load(path)
    model = load_model(path)
    found = differences(module, path, feeds_for(model))
    made = {name for node in model.proto.graph.node for name in node.output}
    # The others are shapes, which torch has no need of, and constants.
    assert len(found) >= 0.5 * len(made)
    assert {item.tensor for item in found} >= {value.name for value in model.proto.graph.output}
    assert [item for item in found if not item.relative <= 1e-4] == []
    assert (module.constants.share, module.constants.trainable) == (1, TRAINABLE[name])
    assert sum(p.numel() for p in module.parameters()) == TRAINABLE[name]


@pytest.mark.parametrize("name", EACH)
def test_batches(name: str, shared: Path) -> None:
    """A batch of 1 that was baked in is freed: three samples give what each gives alone."""
    path = path_of(shared, name)
    module, model = load(path), load_model(path)
    assert module.batch_is_free == (name not in NATIVE)
    if name in NATIVE:
        return
    feeds = feeds_for(model, batch=3)
    together = run_torch(module, feeds)
    complete = with_weights(model, model.proto)
    alone = [run(complete, {n: x[i : i + 1] for n, x in feeds.items()}) for i in range(3)]
    for output, rows in together.items():
        expected = np.concatenate([each[output] for each in alone])
        scale = np.abs(expected).max()
        np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("name", EACH)
def test_gradients(name: str, shared: Path) -> None:
    """The model on ONNX Runtime, differentiated by adjoint rules, and torch's autograd."""
    model = load_model(path_of(shared, name))
    case = Case(name, "real", with_weights(model, model.proto), feeds_for(model))
    assert apart(case) == {}
