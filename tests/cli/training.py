"""What tests of training have in common: a short run, and one that helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from lsa_onnx.demo.assets import digits_data, digits_model
from tests.cli.command_line import Outcome
from tests.graphs import Array

# One step of training on the images of the ``data`` fixture.
SHORT = (
    "--device", "cpu", "--epochs", 1, "--batch-size", 32, "--steps", 1, "--validation-steps", 2,
    "--verify-attack", "pgd", "--verify-steps", 2,
)  # fmt: skip
# The digits of the demo, for long enough to gain.
HELPFUL = (
    digits_model(), "--data", digits_data(), "--device", "cpu", "--eps", "10%", "--epochs", 6,
    "--batch-size", 32, "--lr", 0.01, "--steps", 3, "--gamma", 1, "--validate-every", 3,
    "--validation-steps", 5, "--verify-attack", "pgd", "--max-clean-drop", "8%",
)  # fmt: skip
# So small a step that nothing changes: never better.
USELESS = ("--lr", 1e-30)


def weights(path: Path) -> dict[str, Array]:
    """The initializers of a file."""
    tensors = onnx.load(path).graph.initializer
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def assert_refused(outcome: Outcome, code: int, *named: str) -> None:
    """One line on stderr that names each of ``named``, and nothing on stdout."""
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    for text in named:
        assert text in outcome.line


def same_weights(one: Path, other: Path) -> bool:
    """Whether all are alike, bit for bit."""
    first, second = weights(one), weights(other)
    return list(first) == list(second) and all(
        np.array_equal(first[name], second[name]) for name in first
    )
