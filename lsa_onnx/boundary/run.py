"""``decision-boundary``: from file names to regions on shared axes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from lsa_onnx._version import __version__
from lsa_onnx.accounts.cautions import data_cautions
from lsa_onnx.attacks import check_eps, parse_eps
from lsa_onnx.boundary.options import BoundaryOptions
from lsa_onnx.boundary.plane import all_points, lay_grid, region, require_two_features
from lsa_onnx.landscape.cautions import model_cautions
from lsa_onnx.landscape.opening import Opened, open_models, shared_data, shared_input
from lsa_onnx.prediction import Head, required_head
from lsa_onnx.report.boundary import Boundary, Region
from lsa_onnx.report.sections import ReportWarning
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.scanning.listener import Listener
from lsa_onnx.scanning.subject import Subject, open_subject

# More would hide each other.
DRAWN_SAMPLES = 2000
_NO_BOUNDARY = "there is no boundary between them"
_ANY_KIND = "`lsa-onnx landscape` shows how the outputs of models of any kind move"


def decision_boundary(
    models: Sequence[str | Path], options: BoundaryOptions, listener: Listener | None = None
) -> Boundary:
    """The classes that models of two features see over their plane (Khalooei et al. 2023, Fig. 7).

    Every point is answered by the untouched file. Of inputs that are held, all points get the value of
    the first sample.

    Args:
        models: Paths of the models, each with exactly two numbers per sample.
        options: Samples, axes and number of points.
        listener: Told of progress and early results.

    Raises:
        LsaError: Bad input; the subclass carries the exit code.
    """
    listener = listener or Listener()
    device = resolve_device(options.device, options.libraries)
    # Before anything runs: most models are not of two features.
    heads = [_head(open_subject(str(model), options), options) for model in models]
    opened = open_models(models, options, device, listener)
    subject = opened[0].subject
    eps = _eps(options, subject)
    points = all_points(subject)
    grid = lay_grid(points, subject, options.points, options.extent)
    regions = [
        region(index, each, head, grid, listener)
        for index, (each, head) in enumerate(zip(opened, heads, strict=True))
    ]
    listener.end()
    labels = subject.dataset.labels
    return Boundary(
        tool_version=__version__,
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        models=[each.section for each in opened],
        input=shared_input(opened),
        data=shared_data(opened),
        xs=grid.xs.tolist(),
        ys=grid.ys.tolist(),
        # In the order of the dataset, which is random.
        points=[(x, y) for x, y in points[:DRAWN_SAMPLES].tolist()],
        labels=labels[:DRAWN_SAMPLES].tolist() if labels is not None else None,
        eps=eps,
        regions=regions,
        seed=options.seed,
        command=list(options.command),
        warnings=_cautions(opened, regions),
    )


def _head(subject: Subject, options: BoundaryOptions) -> Head:
    """How a class is read from a model of two features.

    Raises:
        LsaError: It is not of two features, or none is.
    """
    require_two_features(subject)
    return required_head(subject.model, options.decision, _NO_BOUNDARY, _ANY_KIND)


def _eps(options: BoundaryOptions, subject: Subject) -> float | None:
    if options.eps is None:
        return None
    eps = parse_eps(options.eps, subject.spec.width)
    check_eps(eps, "linf", subject.spec.width)
    return eps


def _cautions(opened: Sequence[Opened], regions: Sequence[Region]) -> list[ReportWarning]:
    found = [*data_cautions(shared_data(opened)), *model_cautions(opened)]
    for each, one in zip(opened, regions, strict=True):
        scores = each.head is not None and each.head.kind in ("scores", "score")
        if one.margin is None and scores:
            found.append(
                ReportWarning(
                    "not-finite",
                    f"{each.name} gives scores that are infinite or NaN in the plane: its margins are left "
                    "out, and its classes there say little.",
                )
            )
    return found
