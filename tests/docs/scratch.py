"""The folder in which the blocks of a page run: what every page may take for granted, made from the demo.

===============  ==========================================================================================
``model.onnx``   the digits of ``lsa-onnx demo``; for the README one of three channels, as its means are
``images.npz``   60 of its images with labels; ``images/`` 30 of them as PNG files in folders by class
``train.npz``    300 of its images with labels; for the README more of the kind
``test.npz``     100 others with labels; for the README, which takes the longest attacks, 30
``report.json``  a scan of ``model.onnx`` with an attack
===============  ==========================================================================================

Pages on other models have more: see ``_EXTRA``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lsa_onnx.demo.assets import digits_data, digits_model
from tests import graphs, tokens
from tests.docs.running import Shell

Array = NDArray[Any]

_TRAIN, _TEST, _IMAGES, _FILES, _COPIES = 300, 100, 60, 30, 8


def make_base(folder: Path) -> None:
    """What all pages but the README share."""
    folder.mkdir()
    x, y = _digits()
    _data(folder, x, y)
    shutil.copy(digits_model(), folder / "model.onnx")
    _scanned(folder, "--eps", "10%")


def make_readme(folder: Path) -> None:
    """The same in three channels, for the README gives a mean for each, and enough to train with."""
    folder.mkdir()
    x, y = _digits()
    x = np.repeat(x[..., np.newaxis], 3, axis=3)
    _data(folder, x, y)
    np.savez(folder / "test.npz", x=x[-_FILES:], y=y[-_FILES:])
    x, y = np.tile(x[:_TRAIN], (_COPIES, 1, 1, 1)), np.tile(y[:_TRAIN], _COPIES)
    noise = np.random.default_rng(0).integers(-8, 9, x.shape)
    np.savez(folder / "train.npz", x=np.clip(x + noise, 0, 255).astype(np.uint8), y=y)
    onnx.save(_coloured(onnx.load(digits_model())), folder / "model.onnx")
    _scanned(folder)


def furnish(page: str, folder: Path) -> None:
    """Add what this page alone needs."""
    if page in _EXTRA:
        _EXTRA[page](folder)


def _digits() -> tuple[Array, Array]:
    with np.load(digits_data()) as data:
        return data["x"], data["y"]


def _data(folder: Path, x: Array, y: Array) -> None:
    np.savez(folder / "train.npz", x=x[:_TRAIN], y=y[:_TRAIN])
    x, y = x[_TRAIN:], y[_TRAIN:]
    np.savez(folder / "test.npz", x=x[:_TEST], y=y[:_TEST])
    np.savez(folder / "images.npz", x=x[:_IMAGES], y=y[:_IMAGES])
    for index in range(_FILES):
        path = folder / "images" / str(y[index]) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[index]).save(path)


def _scanned(folder: Path, *strength: str) -> None:
    options = ["--data", "test.npz", "--attack", "pgd", *strength, "--json", "report.json", "-q"]
    Shell(folder).must(["lsa-onnx", "scan", "model.onnx", *options])


def _coloured(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model behind a layer that makes grey of three channels."""
    (image,) = model.graph.input
    image.type.tensor_type.shape.dim[1].dim_value = 3
    name, image.name = image.name, "colours"
    grey = numpy_helper.from_array(np.full((1, 3, 1, 1), 1 / 3, np.float32), "grey")
    model.graph.initializer.append(grey)
    model.graph.node.insert(0, helper.make_node("Conv", ["colours", "grey"], [name], "to_grey"))
    return model


def _several_inputs(folder: Path) -> None:
    """``two.onnx``, ``tokens.onnx``, ``detector.onnx`` and data of each."""
    graphs.save(graphs.two_input_net(), folder / "two.onnx")
    random = np.random.default_rng(0)
    graphs.save(tokens.attention_net(), folder / "tokens.onnx")
    ids = random.integers(1, tokens.VOCABULARY, (40, 5))
    np.savez(folder / "ids.npz", ids=ids, y=random.integers(0, tokens.CLASSES, 40))
    np.save(folder / "mask.npy", np.ones((40, 5), bool))
    _detector(folder)


def _detector(folder: Path) -> None:
    """Two outputs per place of the picture, none of them a class."""
    model = onnx.load(digits_model())
    boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", 24, 4, 4])
    model.graph.node.append(helper.make_node("Identity", ["conv3.relu"], ["boxes"], "boxes"))
    del model.graph.output[:]
    model.graph.output.append(boxes)
    onnx.save(model, folder / "detector.onnx")


def _other_weights(folder: Path) -> None:
    """``hardened.onnx``: the graph of ``model.onnx``, one tensor of it moved."""
    model = onnx.load(folder / "model.onnx")
    (bias,) = [each for each in model.graph.initializer if each.name == "fc2.bias"]
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 0.01, bias.name))
    onnx.save(model, folder / "hardened.onnx")


def _under_its_own_name(folder: Path) -> None:
    """``digits.onnx`` and ``digits.npz``, as they ship."""
    shutil.copy(digits_model(), folder)
    shutil.copy(digits_data(), folder)


_EXTRA: dict[str, Callable[[Path], None]] = {
    "docs/configuration.md": _under_its_own_name,
    "docs/faq.md": _other_weights,
    "docs/howto/other-models.md": _several_inputs,
}
