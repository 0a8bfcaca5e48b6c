"""Which layers are regularised: the MVL list of a scan, or what the user names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lsa_onnx.errors import DataError
from lsa_onnx.report import read_report
from lsa_onnx.report.document import Report
from lsa_onnx.scanning.subject import Subject
from lsa_trainer.module import OnnxModule
from lsa_trainer.objectives import require_gamma
from lsa_trainer.options import HardenOptions

NO_TERM = "0"


@dataclass(frozen=True)
class Chosen:
    """Layers to regularise.

    Attributes:
        layers: ONNX names of their tensors.
        origin: Where the list comes from, in words.
        report: The scan that it comes from, if it comes from one.
    """

    layers: tuple[str, ...]
    origin: str
    report: Report | None = None


def choose_layers(
    subject: Subject, module: OnnxModule, options: HardenOptions, scan: Callable[[], Report]
) -> Chosen:
    """The layers that ``options`` ask for; ``scan`` is called only if no list is given.

    Raises:
        DataError: The report is of another model, a layer is not one of this model, or γ is no γ.
    """
    known = module.tensor_names
    # A scan takes long, and a slip is better known before.
    require_gamma(options.gamma, known)
    chosen = _chosen(subject, options, scan)
    for name in chosen.layers:
        if name not in known:
            raise DataError(
                f"layer {name!r} ({chosen.origin}) is no tensor of {str(subject.model.path)!r} that "
                "depends on the input; `lsa-onnx layers MODEL` lists those"
            )
    return chosen


def _chosen(subject: Subject, options: HardenOptions, scan: Callable[[], Report]) -> Chosen:
    if options.mvl:
        return Chosen(tuple(dict.fromkeys(options.mvl)), "named with --mvl")
    if options.report is None:
        if options.gamma.strip() == NO_TERM:
            return Chosen((), "--gamma 0: no layer-wise term")
        report = scan()
    else:
        report = read_report(options.report)
        _require_same_model(report, subject, str(options.report))
    if options.gamma.strip() == NO_TERM:
        return Chosen((), "--gamma 0: no layer-wise term", report)
    return _of_report(report, "the report" if options.report else "the scan")


def _require_same_model(report: Report, subject: Subject, path: str) -> None:
    wanted, found = subject.model.file.sha256, report.model.file.sha256
    if wanted != found:
        raise DataError(
            f"report {path!r} is of a model with SHA-256 {found[:12]}…, and "
            f"{str(subject.model.path)!r} has {wanted[:12]}…; scan this model, or leave --report out"
        )


def _of_report(report: Report, where: str) -> Chosen:
    """The MVL list; where no layer stands out, the one that moves most."""
    mvl, plain = report.mvl, _plain_tensors(report)
    listed = tuple(name for name in mvl.layers if name in plain)
    left_out = [name for name in mvl.layers if name not in plain]
    without = f", without {', '.join(map(repr, left_out))} (in a body, or not of floats)"
    origin = f"the MVL list of {where} under {mvl.perturbation}{without if left_out else ''}"
    if listed:
        return Chosen(listed, origin, report)
    moved = {
        score.tensor: score.relative_error.mean
        for result in report.perturbations
        if result.name == mvl.perturbation
        for score in result.layers
        if score.relative_error.mean is not None and score.tensor in plain
    }
    if not moved:
        raise DataError(
            f"{where} scored no layer that can be regularised, a float tensor of the main graph; "
            "name some with --mvl"
        )
    most = max(moved, key=lambda name: moved[name])
    none = "no layer that can be regularised" if left_out else "no layer"
    return Chosen(
        (most,),
        f"{none} stands out in {where}; this one moves most under {mvl.perturbation}",
        report,
    )


def _plain_tensors(report: Report) -> set[str]:
    """What training can read: floats of the main graph."""
    return {info.tensor for info in report.layers if info.body is None and info.reading is None}
