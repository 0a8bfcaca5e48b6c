"""``landscape`` in weight space: from file names to surfaces on shared axes."""

from __future__ import annotations

import datetime as dt
import math
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime
import torch

from lsa_onnx._version import __version__
from lsa_onnx.landscape import LandscapeOptions
from lsa_onnx.report.landscape import Axis, Curvature, Landscape, LandscapeRun, Surface
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.scanning import Listener
from lsa_onnx.scanning.describe import data_section, input_section, model_section
from lsa_trainer.landscape.cautions import weight_cautions
from lsa_trainer.landscape.curvature import (
    STENCIL,
    STEP,
    Point,
    largest_eigenvalue,
    principal_curvatures,
)
from lsa_trainer.landscape.hessian import Hessian
from lsa_trainer.landscape.opening import View, open_views, training_options
from lsa_trainer.landscape.plane import frozen
from lsa_trainer.landscape.points import Reading
from lsa_trainer.landscape.proposals import surface_value
from lsa_trainer.training.setup import launch

AXES = ("filter-normalised direction 1", "filter-normalised direction 2")
LARGEST, SMALLEST, HESSIAN = (
    "largest-principal-curvature",
    "smallest-principal-curvature",
    "largest-hessian-eigenvalue",
)

Readings = Mapping[Point, Reading]


def weight_landscape(
    models: Sequence[str | Path], options: LandscapeOptions, listener: Listener | None = None
) -> Landscape:
    """The training objective over the plane θ + a·d₁ + b·d₂, a surface per model and proposal.

    d₁ and d₂ are random and filter-normalised (Li et al. 2018, Sec. 4): each filter of a direction has the norm
    of that filter of the model; biases and the parameters of normalisations stay. At each point x̂ is made
    anew, from the same random starts; one pass then gives J and every CM, and with them all surfaces
    J + Σ γ_l · CM_l (Khalooei et al. 2023, Alg. 3). BatchNormalization keeps the statistics of the file. No file
    is written.

    Args:
        models: Paths of the models.
        options: Samples, extent and number of points, attack and proposals.
        listener: Told of progress.

    Raises:
        LsaError: Bad input; the subclass carries the exit code.
    """
    listener, started = listener or Listener(), time.perf_counter()
    how = training_options(options)
    fabric = launch(how, options.device)
    views = open_views(models, options, how, fabric, listener)
    values = _coordinates(options.reach(views[0].subject.spec.width), options.points)
    surfaces = [
        surface
        for index, view in enumerate(views)
        for surface in _surfaces(index, view, values, listener)
    ]
    listener.end()
    subject = views[0].subject
    device = resolve_device("cpu")
    return Landscape(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        space="weights",
        objective=_objective(views[0]),
        models=[model_section(view.subject, view.prepared.head, device) for view in views],
        input=input_section(subject),
        data=data_section(subject),
        run=_run(views[0], options, str(fabric.device), time.perf_counter() - started),
        axes=(Axis(AXES[0], list(values)), Axis(AXES[1], list(values))),
        surfaces=surfaces,
        warnings=weight_cautions(views, surfaces),
    )


def _coordinates(reach: float, points: int) -> list[float]:
    """Ascending, from −reach over exactly 0 to reach."""
    middle = points // 2
    return [reach * (index - middle) / middle for index in range(points)]


def _surfaces(index: int, view: View, values: Sequence[float], listener: Listener) -> list[Surface]:
    """All surfaces of a model."""
    grid = [(a, b) for a in values for b in values]
    readings = _readings(view, [*grid, *STENCIL], listener)
    sharpest = _sharpest(view, listener)
    rows = [[readings[a, b] for b in values] for a in values]
    return [
        Surface(
            model=index,
            proposal=proposal.name,
            gammas=gammas,
            loss=[[_finite(surface_value(each, gammas)) for each in row] for row in rows],
            accuracy=_accuracy(rows),
            curvatures=[
                *_principal(view, readings, gammas),
                # It is of J, whatever is regularised: told once.
                *([sharpest] if number == 0 else []),
            ],
        )
        for number, (proposal, gammas) in enumerate(zip(view.proposals, view.gammas, strict=True))
    ]


def _readings(view: View, points: Sequence[Point], listener: Listener) -> Readings:
    """The objective at each point; the weights are what they were afterwards."""
    found: dict[Point, Reading] = {}
    asked = list(dict.fromkeys(points))
    listener.begin(f"landscape of {view.name}", len(asked) * view.observer.samples)
    with frozen(view.prepared.job.parameters), view.plane.held():
        for point in asked:
            view.plane.move(*point)
            found[point] = view.observer.read()
            listener.advance(view.observer.samples)
    return found


def _accuracy(rows: Sequence[Sequence[Reading]]) -> list[list[float | None]] | None:
    if rows[0][0].accuracy is None:
        return None
    return [[each.accuracy for each in row] for row in rows]


def _principal(view: View, readings: Readings, gammas: Mapping[str, float]) -> list[Curvature]:
    """How the surface of a proposal bends in the plane."""
    values = {point: surface_value(readings[point], gammas) for point in STENCIL}
    found = principal_curvatures(values, view.plane.cosine)
    text = (
        f"eigenvalue of the Hessian of the surface in the plane at its centre, by central differences {STEP:g} "
        "apart along both directions, in loss per squared multiple of the norm of each filter (Li et al. "
        "2018); x̂ is made anew at each of the nine points, and the angle between the directions is allowed for"
    )
    pair = (None, None) if found is None else found
    return [
        Curvature(measure, f"the {which} {text}", value, None, 1)
        for measure, which, value in zip(
            (LARGEST, SMALLEST), ("larger", "smaller"), pair, strict=True
        )
    ]


def _sharpest(view: View, listener: Listener) -> Curvature:
    """How J bends along the weights where it bends most."""
    listener.begin(f"curvature of {view.name}", 1)
    hessian = Hessian(view.observer, view.observer.perturbed())
    value = largest_eigenvalue(hessian.product, hessian.start())
    by = "differentiating twice" if hessian.differentiable else "central differences of gradients"
    listener.advance(1)
    text = (
        "the largest eigenvalue of the Hessian of J, without the layer-wise term, by all weights that train, x̂ "
        f"fixed; by power iteration (Yao et al. 2020) on Hessian-vector products from {by}"
    )
    return Curvature(HESSIAN, text, value, None, 1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _objective(view: View) -> str:
    """What J is, in words."""
    what = "cross-entropy" if view.prepared.job.classes else "squared error over its variance"
    return f"{what} at x̂" if view.observer.attack.eps > 0 else what


def _run(view: View, options: LandscapeOptions, device: str, seconds: float) -> LandscapeRun:
    attack = view.observer.attack
    steps = "" if attack.kind in ("fgsm", "fast") else f"-{attack.steps}"
    named = f"{attack.kind}{steps}, {attack.norm}, eps {attack.eps:g}"
    return LandscapeRun(
        seed=options.seed,
        samples=view.observer.samples,
        attack=named if attack.eps > 0 else None,
        device=device,
        onnxruntime=onnxruntime.__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        seconds=seconds,
        command=list(options.command),
    )
