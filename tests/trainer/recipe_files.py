"""Small recipes, and a first step that takes no time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from lsa_onnx.model import digest
from lsa_trainer.options import HardenOptions
from lsa_trainer.recipes import stages
from tests import graphs
from tests.graphs import Array, node, value, weight

if TYPE_CHECKING:
    import pytest

# Two features, two scores, two hidden layers: trained and attacked in moments.
TINY = """
title = "Two blobs"
source = "Nobody 2020, Table 9"
architecture = "A"
seeds = [0, 1]
eps_list = ["0", "0.1", "0.5"]
threads = 1
[data]
kind = "file"
source = "blobs as an npz"
range = [-2, 2]
[normal]
epochs = 1
[scan]
perturbations = ["gaussian=0.3"]
eps = "0.5"
eta = 0.0
samples = 30
[harden]
eps = "0.5"
gamma = 0.5
epochs = 1
batch_size = 20
steps = 1
validation = 10
validation_steps = 1
verification = 10
verify_attack = "fgsm"
max_clean_drop = 1.0
[evaluate.square]
samples = 40
steps = 2
[scales.less]
seeds = [3]
evaluate.square = { samples = 20 }
[[rows]]
name = "Normal"
base = "normal"
published = [90, 80, 50]
published_r_and_g = 220
[[rows]]
name = "AT"
base = "at-fgsm"
published = [90, 85, 60]
published_r_and_g = 235
[[rows]]
name = "AT-L1"
base = "at-fgsm"
layers = "L1"
published = [91, 86, 63]
published_r_and_g = 240
[[rows]]
name = "AT-MVL"
base = "at-fgsm"
layers = "mvl"
"""

FIGURES = """[figures]
rows = ["Normal", "AT"]
perturbations = ["gaussian=0.1", "fgsm"]
eps = "0.5"
extent = "0.4"
samples = 20
points = 3
"""
# With figures, which stand before the first scale.
DRAWN = TINY.replace("[scales.less]", f"{FIGURES}[scales.less]")


def write(folder: Path, text: str = TINY) -> Path:
    """A recipe as a file."""
    path = folder / "tiny.toml"
    path.write_text(text, "utf-8")
    return path


def blobs(folder: Path) -> Path:
    """Samples of two classes, 60 to train and 50 to test with."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Array] = {}
    for name, count in (("train", 60), ("test", 50)):
        y = np.arange(count) % 2
        x = np.where(y[:, None] == 1, 0.6, -0.6) + 0.3 * rng.standard_normal((count, 2))
        arrays |= {f"x_{name}": x.clip(-2, 2).astype(np.float32), f"y_{name}": y}
    np.savez(folder / "blobs.npz", **arrays)  # type: ignore[arg-type] # names are free
    return folder / "blobs.npz"


def two_layers() -> onnx.ModelProto:
    """Two features, hidden layers of 4 and 3, two scores."""
    nodes = [
        node("Gemm", ["x", "w", "b"], ["h"]), node("Relu", ["h"], ["first"]),
        node("Gemm", ["first", "v", "c"], ["g"]), node("Relu", ["g"], ["second"]),
        node("Gemm", ["second", "u", "d"], ["y"]),
    ]  # fmt: skip
    weights = {
        "w": weight(1, 2, 4), "b": weight(2, 4), "v": weight(3, 4, 3), "c": weight(4, 3),
        "u": weight(5, 3, 2), "d": np.zeros(2, np.float32),
    }  # fmt: skip
    return graphs.model(nodes, [value("x", ["N", 2])], [value("y", ["N", 2])], weights)


def quick_first_step(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Step 1 writes ``two_layers`` in place of a training and an export; a list of its seeds."""
    called: list[int] = []

    def fit(*_: object, options: Any, export: Path, **__: object) -> None:
        called.append(options.seed)
        graphs.save(two_layers(), export)

    monkeypatch.setattr(stages, "fit", fit)
    return called


def quick_hardening(monkeypatch: pytest.MonkeyPatch) -> list[HardenOptions]:
    """Hardening shifts a weight by what depends on its options; a list of those."""
    called: list[HardenOptions] = []

    def harden(model: Path, output: Path, options: HardenOptions, **_: object) -> SimpleNamespace:
        called.append(options)
        proto = onnx.load(model)
        shift = len(called) + options.steps
        proto.graph.initializer[-1].CopyFrom(
            numpy_helper.from_array(np.array([0.1 * shift, 0], np.float32), "d")
        )
        graphs.save(proto, output)
        layers = options.mvl or (("first",) if options.report else ())
        gammas = {name: float(options.gamma) for name in layers}
        return SimpleNamespace(layers=gammas, layers_from="a stand-in")

    monkeypatch.setattr(stages, "harden", harden)
    return called


def remember_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scan and evaluate the same file in the same way once for all tests, which share their samples."""
    for name in ("scan", "evaluate"):
        monkeypatch.setattr(stages, name, partial(_remembered, name, vars(stages)[name]))


_KNOWN: dict[tuple[str, ...], Any] = {}


def _remembered(name: str, make: Any, model: Path, options: Any, listener: Any) -> Any:
    key = (name, digest(model).sha256, repr(replace(options, data=None)))
    if key not in _KNOWN:
        _KNOWN[key] = make(model, options, listener)
    return _KNOWN[key]
