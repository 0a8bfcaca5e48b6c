"""The options of the tool that a recipe makes of each step; what they refuse is refused before any step runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lsa_onnx.boundary import BoundaryOptions
from lsa_onnx.errors import DataError
from lsa_onnx.evaluation import EvaluationOptions
from lsa_onnx.landscape import LandscapeOptions
from lsa_onnx.landscape.options import PROPOSALS
from lsa_onnx.scanning import ScanOptions
from lsa_trainer.options import TrainingOptions
from lsa_trainer.recipes.recipe import FigureSpec, Recipe


def normal_options(recipe: Recipe, seed: int) -> TrainingOptions:
    """How step 1 trains.

    Raises:
        DataError: A value is not usable.
    """
    # Without an ε, weights are chosen by their accuracy on clean validation samples.
    return TrainingOptions(**{"eps": "0", **recipe.normal}, base="standard", seed=seed)


def scan_options(recipe: Recipe, **fixed: Any) -> ScanOptions:
    """How models are scanned; ``fixed`` is what no recipe says.

    Raises:
        DataError: A value is not usable.
    """
    spec = recipe.scan
    return ScanOptions(
        perturbations=spec.perturbations,
        eps=spec.eps,
        eta=spec.eta,
        samples=spec.samples,
        steps=spec.steps,
        **fixed,
    )


def evaluation_options(recipe: Recipe, attack: str, **fixed: Any) -> EvaluationOptions:
    """How models are evaluated under one attack; ``fixed`` is what no recipe says.

    Raises:
        DataError: A value is not usable.
    """
    spec = recipe.evaluate[attack]
    return EvaluationOptions(
        attacks=(attack,),
        eps_list=recipe.eps_list,
        samples=spec.samples,
        steps=spec.steps,
        restarts=spec.restarts,
        batch=spec.batch,
        **fixed,
    )


def layers_figure(spec: FigureSpec, eta: float, **fixed: Any) -> ScanOptions:
    """How CM by layer is found; ``fixed`` is what no recipe says.

    Raises:
        DataError: A value is not usable.
    """
    return ScanOptions(
        perturbations=spec.perturbations, eps=spec.eps, eta=eta, samples=spec.samples, **fixed
    )


def inputs_figure(spec: FigureSpec, **fixed: Any) -> LandscapeOptions:
    """How the loss around inputs is found; ``fixed`` is what no recipe says.

    Raises:
        DataError: A value is not usable.
    """
    return LandscapeOptions(extent=spec.extent, points=spec.points, samples=spec.samples, **fixed)


def weights_figure(spec: FigureSpec, **fixed: Any) -> LandscapeOptions:
    """How the loss over weights is found, for every proposal; ``fixed`` is what no recipe says.

    Raises:
        DataError: A value is not usable.
    """
    return LandscapeOptions(
        space="weights",
        proposals=PROPOSALS,
        eps=spec.eps,
        points=spec.points,
        samples=spec.samples,
        **fixed,
    )


def regions_figure(spec: FigureSpec, **fixed: Any) -> BoundaryOptions:
    """How the regions of two features are found; ``fixed`` is what no recipe says.

    Raises:
        DataError: A value is not usable.
    """
    return BoundaryOptions(eps=spec.eps, samples=spec.samples, **fixed)


def require_usable(recipe: Recipe) -> None:
    """Refuse what a step would fail at after others have run.

    Raises:
        DataError: A value is not usable.
    """
    _require_numbers(recipe)
    subject = {"data": Path("data"), "range": recipe.data.range, "decision": recipe.data.decision}
    normal_options(recipe, 0)
    scan_options(recipe, **subject).made_perturbations(*recipe.data.range)
    for attack in recipe.evaluate:
        evaluation_options(recipe, attack, **subject)
    if recipe.figures is not None:
        spec, width = recipe.figures, recipe.data.range[1] - recipe.data.range[0]
        layers_figure(spec, recipe.scan.eta, **subject).made_perturbations(*recipe.data.range)
        inputs_figure(spec, **subject).reach(width)
        weights_figure(spec, **subject)
        regions_figure(spec, **subject)


def _require_numbers(recipe: Recipe) -> None:
    """Hold the numbers that no option of the tool takes to their ranges."""
    data = recipe.data
    counts = {"threads": recipe.threads, "width": recipe.width}
    counts |= {"train in [data]": data.train, "test in [data]": data.test}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise DataError(f"{name} = {value} is not usable; give 1 or more")
    if not 0 <= data.noise < math.inf:
        raise DataError(f"noise in [data] = {data.noise:g} is not usable; give 0 or more")
