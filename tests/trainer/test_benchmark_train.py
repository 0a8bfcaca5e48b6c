from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.train import Case, Sides, require_equal


def test_every_side_takes_a_step(tmp_path: Path) -> None:
    sides = Sides.of(Case("mnist_b", 28, 4), tmp_path, "cpu")
    for side in (sides.bare, sides.plain, sides.regularised, sides.source, sides.module):
        side()
    assert float(sides.plain().losses.base) > 0
    assert sides.regularised().losses.cms.keys() != sides.plain().losses.cms.keys()


def test_sides_that_are_not_the_same_model_are_not_compared() -> None:
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    require_equal(one, one, torch.ones(5, 3))
    with pytest.raises(ValueError, match="differ by"):
        require_equal(one, other, torch.ones(5, 3))
