"""Real data in a form that is quick to open: every test reads some of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.inputs import InputSpec, open_data

SAMPLES = 200


@pytest.fixture(scope="session")
def images(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of a data file in ``shared`` → an npz with 200 of its images and labels."""
    folder = tmp_path_factory.mktemp("images")
    shapes = {"data/mnist.npz": (28, 28, 1), "data/cifar10-images.tar.gz": (32, 32, 3)}
    found = {}
    for name, shape in shapes.items():
        spec = InputSpec(layout="NHWC")
        dataset = open_data(shared / name, spec, shape, dtype=np.float32, samples=SAMPLES)
        x, y = dataset.batch(0, SAMPLES)
        found[name] = folder / f"{shape[0]}.npz"
        np.savez(found[name], x=np.rint(x * 255).astype(np.uint8), y=np.asarray(y))
    return found
