"""The samples of a recipe: made, or found where the user says."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically
from lsa_onnx.inputs import InputSpec, open_data
from lsa_trainer.recipes.recipe import DataSpec, Recipe
from lsa_trainer.training.checkpoint import make_folder

Array = NDArray[Any]

TRAIN, TEST = "train", "test"
# Of the test samples, the same for every seed of a run; those are small numbers.
_TEST_SEED = 20_220_202


@dataclass(frozen=True)
class Samples:
    """Files of training and test samples; ``split`` where both parts are in one."""

    train: Path
    test: Path
    split: bool = True

    @property
    def training(self) -> dict[str, Any]:
        """The options of the tool that name the training samples."""
        return {"data": self.train, "split": TRAIN if self.split else None}

    @property
    def testing(self) -> dict[str, Any]:
        """The options of the tool that name the test samples."""
        return {"data": self.test, "split": TEST if self.split else None}


def require_data(recipe: Recipe, given: Path | None) -> None:
    """Fail before any work where samples are missing.

    Raises:
        DataError: The file is not named or not there, or what makes the samples is not installed.
    """
    spec = recipe.data
    if spec.kind == "moons":
        if given is not None:
            raise DataError(
                f"recipe {recipe.name!r} makes its samples, and --data {str(given)!r} would not be read; leave it out"
            )
        if find_spec("sklearn") is None:
            raise DataError(
                f"recipe {recipe.name!r} needs scikit-learn, which this Python does not have; "
                "install it with: pip install 'lsa-onnx[recipes]'"
            )
    elif given is None or not given.exists():
        found = "nothing is given" if given is None else f"{str(given)!r} does not exist"
        raise DataError(
            f"recipe {recipe.name!r} needs samples and {found}; give --data: {spec.source}"
        )


def find_samples(recipe: Recipe, given: Path | None, work: Path, seed: int) -> Samples:
    """The samples of a run, made where they are not there yet.

    Raises:
        DataError: They cannot be made or written.
    """
    if recipe.data.kind == "moons":
        path = work / "data" / f"seed-{seed}.npz"
        if not path.exists():
            make_folder(path.parent)
            _save(path, moons(recipe.data, seed))
        return Samples(path, path)
    if given is None:
        raise ValueError("require_data lets no recipe through without its file")
    return _idx_pair(given) or Samples(given, given)


def _idx_pair(folder: Path) -> Samples | None:
    """The two files of images of a folder of IDX files, beside which their labels lie."""
    found = [sorted(folder.glob(pattern)) for pattern in ("train-images*", "t10k-images*")]
    if not all(found):
        return None
    return Samples(found[0][0], found[1][0], split=False)


def moons(spec: DataSpec, seed: int) -> dict[str, Array]:
    """Two half moons: training samples of ``seed`` and test samples that are the same for all.

    Both features have mean 0 and variance 1 in the training samples.

    Returns:
        ``x_train``, ``x_test`` (n, 2) float32 and ``y_train``, ``y_test`` (n,) int64.

    Raises:
        DataError: A sample is outside of the declared range.
    """
    from sklearn.datasets import make_moons

    x_train, y_train = make_moons(spec.train, noise=spec.noise, random_state=seed)
    x_test, y_test = make_moons(spec.test, noise=spec.noise, random_state=_TEST_SEED)
    mean, std = x_train.mean(axis=0), x_train.std(axis=0)
    parts = {"x_train": (x_train - mean) / std, "x_test": (x_test - mean) / std}
    low, high = spec.range
    for name, x in parts.items():
        if not low <= x.min() <= x.max() <= high:
            raise DataError(
                f"{name} reaches from {x.min():.3g} to {x.max():.3g}, outside of range {low:g}, {high:g}; widen it"
            )
    return {
        **{name: x.astype(np.float32) for name, x in parts.items()},
        "y_train": y_train.astype(np.int64),
        "y_test": y_test.astype(np.int64),
    }


def training_samples(
    recipe: Recipe, samples: Samples, shape: tuple[int, ...], seed: int
) -> tuple[Array, Array]:
    """All training samples of a run in memory: x (n, *shape) float32 and y (n,) int64.

    Raises:
        DataError: They cannot be read, or have no labels.
    """
    low, high = recipe.data.range
    split = samples.training["split"]
    found = open_data(
        samples.train,
        InputSpec(low, high),
        shape,
        split=split,
        samples=recipe.data.train,
        seed=seed,
    )
    x, y = found.batch(0, len(found))
    if y is None:
        raise DataError(
            f"the training samples of {str(samples.train)!r} have no labels; give labelled data"
        )
    return x, y


def _save(path: Path, arrays: dict[str, Array]) -> None:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type] # names are free
    write_atomically(path, file.getvalue())
