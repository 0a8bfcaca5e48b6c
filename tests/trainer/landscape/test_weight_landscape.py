"""Surfaces in weight space: known ones, what they are made of, and what they leave alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from onnx import numpy_helper

from lsa_onnx.errors import DataError
from lsa_onnx.report.landscape import Landscape
from lsa_onnx.report.schema import load_schema
from lsa_onnx.scanning import Listener
from lsa_trainer.landscape import opening, weight_landscape
from lsa_trainer.landscape.opening import training_options
from lsa_trainer.landscape.plane import frozen
from lsa_trainer.landscape.proposals import surface_value
from lsa_trainer.landscape.run import HESSIAN, LARGEST, SMALLEST
from lsa_trainer.objectives import comparison_measure
from tests import graphs
from tests.trainer import fragile
from tests.trainer.landscape.views import (
    centre,
    cross_entropy,
    curvatures,
    deep,
    drawn,
    options,
    regression,
    view,
)


def plain(landscape: Landscape) -> dict[str, Any]:
    """Without what no two runs share."""
    found = landscape.to_dict()
    del found["created"], found["run"]["seconds"]
    return found


class TestALinearModel:
    """Of which J over the plane is a quadratic: mean ‖r + a u + b v‖² over the spread of the targets."""

    def parts(self, tmp_path: Path) -> tuple[Any, Any, Any, float, float]:
        file, data = regression(tmp_path)
        plane = view(file, data, eps="0").plane
        arrays = {name: np.load(data)[name].astype(np.float64) for name in "xy"}
        x, y = arrays["x"], arrays["y"][:, 0]
        w, u, v = (x @ t["w"].double().numpy() for t in (plane.origin, *plane.directions))
        return w - y, u, v, float(((y - y.mean(0)) ** 2).sum(1).mean()), plane.cosine

    def test_is_drawn_as_its_formula_says(self, tmp_path: Path) -> None:
        r, u, v, spread, _ = self.parts(tmp_path)
        found = drawn(*regression(tmp_path), eps="0", extent="2", points=5)
        (surface,), values = found.surfaces, [-2.0, -1, 0, 1, 2]
        assert [axis.values for axis in found.axes] == [values, values]
        wanted = [
            [((r + a * u + b * v) ** 2).sum(1).mean() / spread for b in values] for a in values
        ]
        np.testing.assert_allclose(np.array(surface.loss, float), wanted, rtol=1e-5)
        assert surface.accuracy is None
        assert (surface.proposal, surface.gammas, surface.model) == ("none", {}, 0)

    def test_bends_as_its_formula_says(self, tmp_path: Path) -> None:
        _, u, v, spread, cosine = self.parts(tmp_path)
        products = [[(p * q).sum(1).mean() for p in (u, v)] for q in (u, v)]
        hessian = 2 * np.array(products) / spread
        metric = np.array([[1, cosine], [cosine, 1]])
        low, high = sorted(np.linalg.eigvals(np.linalg.solve(metric, hessian)).real)
        (surface,) = drawn(*regression(tmp_path), eps="0").surfaces
        found = curvatures(surface)
        assert found[LARGEST] == pytest.approx(high, rel=1e-2)
        assert found[SMALLEST] == pytest.approx(low, rel=1e-2)
        assert all(each.n == 1 and each.interval is None for each in surface.curvatures)


def test_the_centre_is_the_model_itself(model: Path, samples: Path) -> None:
    (surface,) = drawn(model, samples, eps="0", samples=120).surfaces
    arrays = np.load(samples)
    (z,) = graphs.run(fragile.mlp(), {"x": arrays["x"]}).values()
    assert centre(surface) == pytest.approx(cross_entropy(z, arrays["y"]), rel=1e-5)
    assert surface.accuracy is not None
    assert surface.accuracy[1][1] == pytest.approx((z.argmax(1) == arrays["y"]).mean())


def test_a_surface_is_the_base_loss_and_its_layers(model: Path, samples: Path) -> None:
    alone, both = (
        drawn(model, samples, proposals=("none", "each", "mvl"), mvl=("h", "r"), gamma=gamma)
        for gamma in ("2", "h=0.5,r=3")
    )
    base, h, r, mvl = (np.array(each.loss, float) for each in alone.surfaces)
    assert [each.proposal for each in alone.surfaces] == ["none", "h", "r", "mvl"]
    assert [each.gammas for each in both.surfaces] == [{}, {"h": 0.5}, {"r": 3}, {"h": 0.5, "r": 3}]
    np.testing.assert_allclose(mvl - base, (h - base) + (r - base), atol=1e-9)
    cms = [(each - base) / 2 for each in (h, r)]
    weighed = 0.5 * cms[0] + 3 * cms[1]
    np.testing.assert_allclose(np.array(both.surfaces[3].loss, float) - base, weighed, atol=1e-9)


def test_its_layers_move_as_their_measure_says(model: Path, samples: Path) -> None:
    found = view(model, samples, proposals=("mvl",), mvl=("r",))
    (piece,), (x_adv,) = found.observer.pieces, found.observer.perturbed()
    w, b = (torch.from_numpy(fragile.mlp_weights()[name]) for name in "wb")
    clean, moved = (torch.relu(x @ w.T + b) for x in (piece.part.x, x_adv))
    wanted = float(comparison_measure(clean, moved).mean())
    assert found.centre.cms["r"] == pytest.approx(wanted, rel=1e-5)
    assert 0 < float((x_adv - piece.part.x).abs().max()) <= 0.1 + 1e-6


def test_gamma_is_balanced_for_each_proposal(model: Path, samples: Path) -> None:
    how: dict[str, Any] = {"proposals": ("none", "each", "mvl"), "mvl": ("h", "r")}
    found = view(model, samples, gamma="auto:0.5", **how)
    base, *others = (surface_value(found.centre, gammas) for gammas in found.gammas)
    assert base == found.centre.loss
    assert others == pytest.approx([1.5 * base] * 3)


def test_an_attack_makes_it_worse(model: Path, samples: Path) -> None:
    clean, attacked = (view(model, samples, eps=eps).centre for eps in ("0", "0.1"))
    assert attacked.accuracy is not None
    assert clean.accuracy == 1
    assert attacked.accuracy < 0.2
    assert attacked.loss > 2 * clean.loss


def test_models_share_axes_samples_and_raw_directions(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    other = fragile.mlp()
    for tensor in other.graph.initializer:
        array = 2 * numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array, f"{tensor.name}'"))
    for node in other.graph.node:
        node.input[:] = [f"{n}'" if n in "wbvc" else n for n in node.input]
    twice = graphs.save(other, tmp_path / "twice.onnx")
    same = Path(shutil.copy(model, tmp_path / "same.onnx"))
    found = drawn([model, same, twice], samples)
    assert [each.model for each in found.surfaces] == [0, 1, 2]
    assert found.surfaces[0].loss == found.surfaces[1].loss != found.surfaces[2].loss
    assert [len(each.inputs) for each in found.models] == [1, 1, 1]
    one, two = (view(file, samples).plane for file in (model, twice))
    for first, second in zip(one.directions, two.directions, strict=True):
        assert [*second] == ["w'", "v'"]
        assert all(torch.allclose(2 * first[n], second[f"{n}'"]) for n in first)


def test_a_list_must_be_of_every_model(model: Path, samples: Path, tmp_path: Path) -> None:
    other = graphs.save(deep(1), tmp_path / "deep.onnx")
    with pytest.raises(DataError, match=r"layer 'h' .*is no tensor of '.*deep\.onnx'"):
        drawn([model, other], samples, proposals=("mvl",), mvl=("h",))


def test_directions_have_the_norm_of_each_filter(model: Path, samples: Path) -> None:
    plane = view(model, samples).plane
    for direction in plane.directions:
        assert [*direction] == ["w", "v"]
        for name, values in direction.items():
            assert torch.allclose(values.norm(dim=1), plane.origin[name].norm(dim=1), rtol=1e-5)
    assert abs(plane.cosine) < 0.9


def test_weights_are_what_they_were_bit_by_bit(model: Path, samples: Path) -> None:
    plane = view(model, samples).plane
    with plane.held():
        plane.move(0.3, -2)
        assert not torch.equal(plane.parameters["w"], plane.origin["w"])
        assert not plane.parameters["w"].requires_grad
    for name, tensor in plane.parameters.items():
        assert torch.equal(tensor, torch.from_numpy(fragile.mlp_weights()[name]))
        assert tensor.requires_grad


def test_also_after_an_interruption(model: Path, samples: Path) -> None:
    class Stopping(Listener):
        def advance(self, samples: int) -> None:
            raise KeyboardInterrupt

    before = model.read_bytes()
    files = sorted(model.parent.iterdir())
    with pytest.raises(KeyboardInterrupt):
        weight_landscape([model], options(samples), Stopping())
    assert model.read_bytes() == before
    assert sorted(model.parent.iterdir()) == files


def test_parameters_need_no_gradient_while_frozen() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    with frozen({"p": parameter}):
        assert not parameter.requires_grad
    assert parameter.requires_grad


def test_two_runs_are_one(model: Path, samples: Path) -> None:
    how: dict[str, Any] = {"proposals": ("none", "mvl"), "mvl": ("r",)}
    first, second = (plain(drawn(model, samples, **how)) for _ in range(2))
    assert first == second
    other = plain(drawn(model, samples, seed=1, **how))
    assert other["surfaces"] != first["surfaces"]


def test_the_document_says_how_it_was_made(model: Path, samples: Path) -> None:
    found = drawn(model, samples, proposals=("none", "mvl"), mvl=("r",), command=("lsa-onnx", "x"))
    document = found.to_dict()
    jsonschema.validate(document, load_schema("landscape"))
    assert Landscape.from_dict(document) == found
    assert (found.space, found.objective) == ("weights", "cross-entropy at x̂")
    assert found.run.attack == "pgd-2, linf, eps 0.1"
    assert found.run.command == ["lsa-onnx", "x"]
    assert [each.measure for each in found.surfaces[0].curvatures] == [LARGEST, SMALLEST, HESSIAN]
    assert [each.measure for each in found.surfaces[1].curvatures] == [LARGEST, SMALLEST]
    assert "differentiating twice" in found.surfaces[0].curvatures[2].definition
    assert found.warnings == []


def test_what_training_has_learnt_by_default_changes_no_landscape(samples: Path) -> None:
    how = training_options(options(samples, attack="fgsm", steps=None))
    assert (how.base, how.inner, how.clean_weight, how.lr_power) == ("at-fgsm", "auto", 0, 1)
    assert how.steps == opening.STEPS
