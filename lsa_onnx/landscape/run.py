"""``landscape`` in input space: from file names to surfaces on shared axes."""

from __future__ import annotations

import datetime as dt
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from lsa_onnx._version import __version__
from lsa_onnx.attacks import Fgsm
from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.landscape.cautions import landscape_cautions
from lsa_onnx.landscape.opening import Opened, open_models, shared_data, shared_input
from lsa_onnx.landscape.options import LandscapeOptions
from lsa_onnx.landscape.surface import Sheet, draw_surface
from lsa_onnx.report.landscape import Axis, Landscape, LandscapeRun
from lsa_onnx.rewrite.differentiate import NotDifferentiable
from lsa_onnx.rewrite.objectives import CLASS_KINDS
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.scanning.adversary import Adversary, open_adversary
from lsa_onnx.scanning.listener import Listener

AXES = ("gradient sign", "random sign")
_CLIPPED = "points of the plane are clipped to the range"
_NEARBY = (
    "the objective is measured from the answer at the sample, where its gradient is 0: the first direction "
    "is the sign of the gradient at a random point nearby"
)


def input_landscape(
    models: Sequence[str | Path], options: LandscapeOptions, listener: Listener | None = None
) -> Landscape:
    """The objective over the plane x + a·d₁ + b·d₂, as a mean over samples, one surface per model.

    d₁ is the sign of the gradient of the model's own objective at x (Goodfellow et al. 2015), d₂ one of
    −1 and 1 at random for each element, the same for all models: both axes are L∞ distances in units of
    the declared range. Points are clipped to that range. The objective is what attacks maximise, by
    default the unsaturated cross-entropy (``lsa_onnx.rewrite.objectives``), at the output of the model's
    own graph; accuracy is that of the untouched file, without labels its agreement with its clean
    predictions.

    Args:
        models: Paths of the models.
        options: Samples, extent and number of points.
        listener: Told of progress and early results.

    Raises:
        LsaError: Bad input; the subclass carries the exit code.
    """
    listener, started = listener or Listener(), time.perf_counter()
    device = resolve_device(options.device, options.libraries)
    opened = open_models(models, options, device, listener)
    reach = options.reach(opened[0].subject.spec.width)
    values = _coordinates(reach, options.points)
    attack = Fgsm(eps=reach, objective=options.objective, seed=options.seed)
    adversaries = [_adversary(each, options, attack) for each in opened]
    objective = _shared_objective(opened, adversaries, options)
    sheets = [
        Sheet(index, each, adversary, attack, values)
        for index, (each, adversary) in enumerate(zip(opened, adversaries, strict=True))
    ]
    drawn = [draw_surface(sheet, listener) for sheet in sheets]
    listener.end()
    return Landscape(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        space="input",
        objective=objective,
        models=[each.section for each in opened],
        input=shared_input(opened, _CLIPPED, *([] if objective in CLASS_KINDS else [_NEARBY])),
        data=shared_data(opened),
        run=_run(opened, options, time.perf_counter() - started),
        axes=(Axis(AXES[0], list(values)), Axis(AXES[1], list(values))),
        surfaces=[each.surface for each in drawn],
        warnings=landscape_cautions(sheets, drawn),
    )


def _coordinates(reach: float, points: int) -> list[float]:
    """Ascending, from −reach over exactly 0 to reach."""
    middle = points // 2
    return [reach * (index - middle) / middle for index in range(points)]


def _adversary(opened: Opened, options: LandscapeOptions, attack: Fgsm) -> Adversary:
    """What gives the model's objective and gradients.

    Raises:
        ModelError: There is no gradient, or the model cannot serve the objective.
    """
    running = opened.running
    adversary = open_adversary(
        opened.subject,
        running.plan,
        opened.head,
        opened.clean,
        running.probe,
        opened.device,
        options,
    )
    try:
        adversary.prepare(attack)
    except NotDifferentiable as error:
        reason = str(error).partition(";")[0]
        raise ModelError(
            f"{str(opened.subject.model.path)!r} has no gradient, whose sign is the first direction of an "
            f"input landscape: {reason}; try --straight-through, which passes rounding"
        ) from error
    return adversary


def _shared_objective(
    opened: Sequence[Opened], adversaries: Sequence[Adversary], options: LandscapeOptions
) -> str:
    """The name of what all surfaces show.

    Raises:
        DataError: Models that share no default, and none was given.
    """
    if options.objective is not None:
        return options.objective
    first = adversaries[0].default
    for each, adversary in zip(opened, adversaries, strict=True):
        if adversary.default != first:
            raise DataError(
                f"{str(each.subject.model.path)!r} would show the objective {adversary.default!r}, and "
                f"{str(opened[0].subject.model.path)!r} {first!r}; give one for all, such as "
                "--objective output"
            )
    return first


def _run(opened: Sequence[Opened], options: LandscapeOptions, seconds: float) -> LandscapeRun:
    return LandscapeRun(
        seed=options.seed,
        samples=len(opened[0].subject.dataset),
        attack=None,
        device=opened[0].device.name,
        onnxruntime=ort.__version__,
        torch=None,
        python=platform.python_version(),
        platform=platform.platform(),
        seconds=seconds,
        command=list(options.command),
    )
