"""What a constant does to CM, on numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.constant_part import SAMPLES, measured, page, parts
from lsa_trainer.recipes import read_recipe
from tests import graphs
from tests.trainer.recipe_files import two_layers


def test_parts_by_hand() -> None:
    clean = np.array([[3.0, 4.0], [3.0, -4.0]])
    perturbed = np.array([[3.0, 5.0], [3.0, -4.0]])
    # Norms 5 and 5, mean (3, 0), distances from it 4 and 4, moved by 1 and 0.
    assert astuple(parts(clean, perturbed)) == pytest.approx((5, 4, 0.1, 0.125))


def test_a_constant_lowers_cm_alone() -> None:
    rng = np.random.default_rng(0)
    clean, noise = rng.standard_normal((2, 40, 3, 2, 5))
    plain, shifted = parts(clean, clean + 0.1 * noise), parts(clean + 9, clean + 9 + 0.1 * noise)
    assert shifted.cm < 0.2 * plain.cm
    assert shifted.against_spread == pytest.approx(plain.against_spread)
    assert shifted.spread == pytest.approx(plain.spread)


def test_layers_of_a_model_are_measured_and_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((SAMPLES, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    model = graphs.save(two_layers(), tmp_path / "model.onnx")
    recipe = read_recipe("moon-table2")
    scores = replace(recipe, data=replace(recipe.data, decision="max"))
    found = measured(model, scores, tmp_path / "data.npz")
    assert len(found) == 2
    assert all(0 < each.cm < 1 and 0 < each.spread < 2 * each.norm for each in found)
    lines = list(page({"Normal": [found, found]}, "0.2"))
    assert f"| Normal | 2 | L1 | {found[1].norm:.3g} | {found[1].spread:.3g} |" in lines[-1]
