"""Small models and samples of which landscapes are drawn in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lsa_onnx.landscape import LandscapeOptions
from lsa_onnx.report.landscape import Landscape, Surface
from lsa_onnx.scanning import Listener
from lsa_trainer.landscape import weight_landscape
from lsa_trainer.landscape.opening import View, open_views, training_options
from lsa_trainer.training.setup import launch
from tests.graphs import model, node, save, value, weight
from tests.trainer.fragile import save_data

if TYPE_CHECKING:
    import onnx

QUICK = {"space": "weights", "points": 3, "samples": 40, "steps": 2, "eps": "0.1", "gamma": "1"}


def options(data: Path, **changes: Any) -> LandscapeOptions:
    return LandscapeOptions(data=data, device="cpu", **{**QUICK, **changes})


def drawn(model: Path | list[Path], data: Path, **changes: Any) -> Landscape:
    models = model if isinstance(model, list) else [model]
    return weight_landscape(models, options(data, **changes))


def view(model: Path, data: Path, **changes: Any) -> View:
    """What ``drawn`` looks at."""
    how = options(data, **changes)
    training = training_options(how)
    return open_views([model], how, training, launch(training, "cpu"), Listener())[0]


def cross_entropy(z: Any, y: Any) -> float:
    return float(torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(y)))


def centre(surface: Surface) -> float:
    middle = len(surface.loss) // 2
    found = surface.loss[middle][middle]
    assert found is not None
    return found


def curvatures(surface: Surface) -> dict[str, float | None]:
    return {each.measure: each.value for each in surface.curvatures}


def linear() -> onnx.ModelProto:
    """y = x w, two numbers per sample for which there is no class: what a regression of one layer gives."""
    ends = value("x", ["N", 3]), value("y", ["N", 1, 2])
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Reshape", ["p", "s"], ["y"])]
    arrays = {"w": weight(3, 3, 2), "s": np.array([-1, 1, 2])}
    return model(nodes, [ends[0]], [ends[1]], arrays)


def regression(folder: Path) -> tuple[Path, Path]:
    """``linear`` and samples with targets that it does not reach."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"x": rng.random((40, 3), np.float32)}
    arrays["y"] = rng.normal(size=(40, 1, 2))
    return save(linear(), folder / "linear.onnx"), save_data(folder / "linear.npz", arrays)


def deep(layers: int) -> onnx.ModelProto:
    """As many layers as that before the scores of three classes."""
    nodes, arrays = [], {}
    for i in range(layers):
        arrays[f"w{i}"] = 2 * weight(i, 6, 6)
        nodes += [
            node("MatMul", [f"r{i - 1}" if i else "x", f"w{i}"], [f"h{i}"]),
            node("Relu", [f"h{i}"], [f"r{i}"]),
        ]
    arrays["v"] = weight(99, 6, 3)
    nodes.append(node("MatMul", [f"r{layers - 1}", "v"], ["y"]))
    return model(nodes, [value("x", ["N", 6])], [value("y", ["N", 3])], arrays)
