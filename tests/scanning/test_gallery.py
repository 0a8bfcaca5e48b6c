"""Pictures of the inputs that changed most: which ones, and every pixel of them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lsa_onnx.report.document import Example, Report
from tests import graphs
from tests.scanning.helpers import classes_of, saved, scanned, stored

Array = NDArray[Any]


def pixels(picture: str) -> Array:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture)))).astype(int)


def pairs(folder: Path, proto: Any, x: Array, x_adv: Array, **given: Any) -> Report:
    """A scan of changes made elsewhere."""
    model = saved(folder, proto)
    data = stored(folder, x=x, y=given.pop("y", classes_of(proto, {"x": x[:, None]})))
    perturbed = stored(folder, "adv.npz", x=x_adv)
    return scanned(model, data, perturbed=perturbed, perturbations=(), **given)


@pytest.fixture
def digits() -> tuple[Array, Array]:
    """Six grey images of 28 by 32, and the same where the fourth and the second changed most."""
    x = graphs.samples(4, 6, 28, 32)
    x_adv = x.copy()
    for row, size in ((1, 0.2), (3, 0.4)):
        x_adv[row] = np.clip(x[row] + size, 0, 1)
    return x, x_adv


def test_the_inputs_that_changed_most_come_first(
    tmp_path: Path, digits: tuple[Array, Array]
) -> None:
    x, x_adv = digits
    found = pairs(tmp_path, graphs.mnist_cnn(28, 32), x, x_adv).examples
    changed = [each for each in found if each.clean_class != each.perturbed_class]
    assert found[: len(changed)] == changed
    still = [each.mean_cm or 0.0 for each in found[len(changed) :]]
    assert still == sorted(still, reverse=True)
    assert {3, 1} <= {each.index for each in found}
    assert len(found) == 4


def test_every_pixel(tmp_path: Path, digits: tuple[Array, Array]) -> None:
    x, x_adv = digits
    found = pairs(tmp_path, graphs.mnist_cnn(28, 32), x, x_adv).examples
    example = next(each for each in found if each.index == 3)
    assert (example.width, example.height, example.shrunk, example.gain) == (32, 28, 1, 10.0)
    np.testing.assert_array_equal(pixels(example.clean), np.rint(x[3] * 255))
    np.testing.assert_array_equal(pixels(example.perturbed), np.rint(x_adv[3] * 255))
    change = np.clip(127.5 + 10 * 255 * (x_adv[3].astype(float) - x[3]), 0, 255)
    np.testing.assert_array_equal(pixels(example.difference), np.rint(change))


def test_large_colour_images_are_shrunk(tmp_path: Path) -> None:
    x = graphs.samples(1, 3, 3, 200, 120)
    x_adv = x.copy()
    x_adv[:, 1, 4, 5] = 1 - x[:, 1, 4, 5]
    perturbed = stored(tmp_path, "adv.npz", x=x_adv)
    found = _of_any_size(tmp_path, stored(tmp_path, x=x), perturbed)
    example = next(each for each in found if each.index == 0)
    # 200 pixels by a third: 67, of which the last one stands for two.
    assert (example.width, example.height, example.shrunk) == (40, 67, 3)
    shown = x[0].transpose(1, 2, 0)[::3, ::3]
    np.testing.assert_array_equal(pixels(example.clean), np.rint(shown * 255))
    difference = pixels(example.difference)
    assert difference.shape == (67, 40, 3)
    # The one pixel that changed is in the square of row 1, column 1, and in green alone.
    moved = np.argwhere(difference != 128)
    assert moved.tolist() == [[1, 1, 1]]


def _of_any_size(folder: Path, data: Path, perturbed: Path) -> list[Example]:
    """The examples of a model that takes images of any size."""
    nodes = [
        graphs.node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        graphs.node("Relu", ["c"], ["r"]),
        graphs.node("GlobalAveragePool", ["r"], ["g"]),
        graphs.node("Flatten", ["g"], ["y"]),
    ]
    proto = graphs.model(
        nodes,
        [graphs.value("x", ["N", 3, "H", "W"])],
        [graphs.value("y", ["N", 4])],
        {"w": graphs.weight(2, 4, 3, 3, 3)},
    )
    path = saved(folder, proto, "any.onnx")
    return scanned(path, data, perturbed=perturbed, perturbations=()).examples


def test_flat_inputs_that_were_images_are_shown(tmp_path: Path) -> None:
    nodes = [graphs.node("MatMul", ["x", "w"], ["h"]), graphs.node("Relu", ["h"], ["y"])]
    values = [graphs.value("x", ["N", 120])], [graphs.value("y", ["N", 4])]
    model = saved(tmp_path, graphs.model(nodes, *values, {"w": graphs.weight(1, 120, 4)}))
    x = graphs.samples(3, 5, 10, 12)
    for stored_as, shown in ((x, True), (x[..., None], True), (x.reshape(5, 120), False)):
        found = scanned(model, stored(tmp_path, x=stored_as), perturbations=("salt",)).examples
        assert bool(found) is shown
        for example in found:
            assert (example.width, example.height) == (12, 10)
            np.testing.assert_array_equal(pixels(example.clean), np.rint(x[example.index] * 255))


@pytest.mark.parametrize("given", [{"pictures": False}, {}])
def test_pictures_can_be_left_out(
    tmp_path: Path, digits: tuple[Array, Array], given: dict[str, Any]
) -> None:
    x, x_adv = digits
    found = pairs(tmp_path, graphs.mnist_cnn(28, 32), x, x_adv, **given).examples
    assert bool(found) is not bool(given)


def test_inputs_that_are_no_images_have_no_pictures(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.typed_net("float32"))
    data = stored(tmp_path, x=graphs.samples(1, 9, 5))
    assert scanned(model, data, perturbations=("salt",)).examples == []
