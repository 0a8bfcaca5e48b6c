"""The real MNIST and CIFAR-10 files, where they lie beside the repository."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.inputs import InputSpec, open_data

pytestmark = pytest.mark.real


def test_mnist_reads_the_test_arrays_only_and_fast(shared: Path) -> None:
    start = time.perf_counter()
    data = open_data(shared / "data/mnist.npz", InputSpec(high=255.0), (1, 28, 28), samples=256)
    seconds = time.perf_counter() - start
    x, y = data.batch(0, 256)
    with np.load(shared / "data/mnist.npz") as arrays:
        np.testing.assert_array_equal(x[:, 0], arrays["x_test"][data.selection])
        np.testing.assert_array_equal(y, arrays["y_test"][data.selection])
    assert data.available == 10000
    assert np.bincount(data.labels if data.labels is not None else []).min() >= 10
    assert seconds < 0.5


def test_mnist_flattened(shared: Path) -> None:
    data = open_data(shared / "data/mnist.npz", InputSpec(), (784, 1), samples=64)
    x, _ = data.batch(0, 64)
    assert (x.shape, x.min(), x.max()) == ((64, 784, 1), 0, 1)
    assert "flattened 28x28 to 784x1" in data.notes


@pytest.mark.slow
def test_cifar_archive_in_a_few_seconds(shared: Path) -> None:
    start = time.perf_counter()
    data = open_data(shared / "data/cifar10-images.tar.gz", InputSpec(), (32, 32, 3), samples=1000)
    x, y = data.batch(0, 1000)
    seconds = time.perf_counter() - start
    assert y is not None
    assert (x.shape, data.available) == ((1000, 32, 32, 3), 10000)
    assert data.classes is not None
    assert (len(data.classes), data.classes[0], data.classes[9]) == (10, "airplane", "truck")
    np.testing.assert_array_equal(y, data.selection // 1000)
    assert 0.3 < x.mean() < 0.6
    assert "split 'test' used (not train)" in data.notes
    assert seconds < 15  # about 3 on an idle machine
