"""The functions of ``import lsa_onnx``: what the commands do, for callers in Python.

Options are given as keywords, as an options object, or as both, where keywords count. Nothing heavy is
imported before a function is called.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lsa_onnx.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lsa_onnx.boundary import BoundaryOptions
    from lsa_onnx.comparing import Side
    from lsa_onnx.evaluation import EvaluationOptions
    from lsa_onnx.keywords import (
        AnyPath,
        BoundaryKeywords,
        EvaluationKeywords,
        LandscapeKeywords,
        ScanKeywords,
    )
    from lsa_onnx.landscape import LandscapeOptions
    from lsa_onnx.layers import LayerPlan
    from lsa_onnx.report.boundary import Boundary
    from lsa_onnx.report.comparison import Comparison
    from lsa_onnx.report.document import Report
    from lsa_onnx.report.evaluation import Evaluation
    from lsa_onnx.report.landscape import Landscape
    from lsa_onnx.scanning import Listener, ScanOptions

T = TypeVar("T")

# Flags of the command line whose options have another name here.
_FLAGS = {"attack": ("perturbations", "attacks"), "eps-list": ("eps_list",)}


def scan(
    model: AnyPath,
    options: ScanOptions | None = None,
    listener: Listener | None = None,
    **choices: Unpack[ScanKeywords],
) -> Report:
    """Measure how far each layer moves under each perturbation, and name the most vulnerable ones.

    Args:
        model: Path of the ONNX file.
        options: What to do; by default synthetic inputs, all noises, FGSM and PGD, the paper's layers.
        listener: Told of progress and early results; by default nobody is.
        choices: Fields of ``ScanOptions``, which count over those of ``options``: ``data`` (a path, an
            array, a tuple (x, y), or a dict of arrays by name), ``perturbations``, ``eps``, ``samples``, ...

    Returns:
        The report. It may hold no scores: its verdict then says why.

    Raises:
        LsaError: Bad input; the subclass tells of what kind.
        TypeError: A keyword is no option.
    """
    from lsa_onnx import scanning  # brings ONNX Runtime

    told = _told(scanning.ScanOptions, options, choices)
    return scanning.scan(_path(model), told, listener)


def compare(
    before: AnyPath | Report | Evaluation, after: AnyPath | Report | Evaluation
) -> Comparison:
    """What changed between two scans, or two evaluations: of a model before and after, or of two models.

    Args:
        before: What the other is held to: a report or an evaluation, or the path of its JSON file.
        after: The other, of the same kind and on the same samples.

    Raises:
        DataError: A file cannot be read, or the two cannot be compared.
    """
    from lsa_onnx import comparing  # brings numpy

    return comparing.compare(_side(before, "before"), _side(after, "after"))


def _side(given: AnyPath | Report | Evaluation, name: str) -> Side:
    from lsa_onnx.comparing import Side
    from lsa_onnx.report import read_scan_or_evaluation

    if isinstance(given, (str, os.PathLike)):
        return Side(read_scan_or_evaluation(given), os.fspath(given))
    return Side(given, name)


def evaluate(
    model: AnyPath,
    options: EvaluationOptions | None = None,
    listener: Listener | None = None,
    **choices: Unpack[EvaluationKeywords],
) -> Evaluation:
    """Attack a model at several strengths and count what it still gets right.

    Args:
        model: Path of the ONNX file, which must predict classes.
        options: What to do; PGD at 0, 2, 4 and 8/255 of the range by default.
        listener: Told of progress and early results; by default nobody is.
        choices: Fields of ``EvaluationOptions``, which count over those of ``options``: ``data`` as for
            ``scan``, ``attacks``, ``eps_list``, ...

    Returns:
        The evaluation. ``lsa_onnx.evaluation.side_by_side`` puts several together.

    Raises:
        LsaError: Bad input; the subclass tells of what kind.
        TypeError: A keyword is no option.
    """
    from lsa_onnx import evaluation  # brings ONNX Runtime

    told = _told(evaluation.EvaluationOptions, options, choices)
    return evaluation.evaluate(_path(model), told, listener)


def input_landscape(
    models: AnyPath | Sequence[AnyPath],
    options: LandscapeOptions | None = None,
    listener: Listener | None = None,
    **choices: Unpack[LandscapeKeywords],
) -> Landscape:
    """The objective over a plane through the samples, as a mean over them, one surface per model.

    That over weights is ``lsa_trainer.landscape.weight_landscape``, which needs torch.

    Args:
        models: Path of the ONNX file, or paths of several.
        options: Samples, extent and number of points.
        listener: Told of progress and early results; by default nobody is.
        choices: Fields of ``LandscapeOptions``, which count over those of ``options``; ``data`` is needed.

    Raises:
        LsaError: Bad input; the subclass tells of what kind.
        TypeError: A keyword is no option.
    """
    from lsa_onnx import landscape  # brings ONNX Runtime

    told = _told(landscape.LandscapeOptions, options, choices)
    if told.space != "input":
        raise DataError(
            f"space {told.space!r} is not the input's; call lsa_trainer.landscape.weight_landscape for it"
        )
    return landscape.input_landscape(_paths(models), told, listener)


def decision_boundary(
    models: AnyPath | Sequence[AnyPath],
    options: BoundaryOptions | None = None,
    listener: Listener | None = None,
    **choices: Unpack[BoundaryKeywords],
) -> Boundary:
    """The class that models of two features see everywhere in their plane.

    Args:
        models: Path of the ONNX file, or paths of several.
        options: Samples, axes and number of points.
        listener: Told of progress and early results; by default nobody is.
        choices: Fields of ``BoundaryOptions``, which count over those of ``options``; ``data`` is needed.

    Raises:
        LsaError: Bad input; the subclass tells of what kind.
        TypeError: A keyword is no option.
    """
    from lsa_onnx import boundary  # brings ONNX Runtime

    told = _told(boundary.BoundaryOptions, options, choices)
    return boundary.decision_boundary(_paths(models), told, listener)


def list_layers(
    model: AnyPath,
    layers: str | Sequence[str] = "activations",
    *,
    device: str = "auto",
    custom_ops: Sequence[AnyPath] = (),
) -> LayerPlan:
    """The layers that a scan would score, and every other tensor with the reason why not.

    Args:
        model: Path of the ONNX file.
        layers: Selectors, see ``lsa_onnx.layers.plan_layers``.
        device: Where the model is to run: "auto", "cpu", "cuda" or "cuda:N".
        custom_ops: Libraries of custom operators that the model needs; their code is run.

    Raises:
        LsaError: The model cannot be read, or a selector is malformed or matches nothing.
    """
    from lsa_onnx.layers import plan_layers
    from lsa_onnx.model import load_model
    from lsa_onnx.runtime.devices import resolve_device
    from lsa_onnx.runtime.inspection import survey

    loaded = load_model(_path(model))
    where = resolve_device(device, [os.fspath(each) for each in custom_ops])
    return plan_layers(survey(loaded.proto, loaded.folder, where), _texts(layers))


def expose(
    model: AnyPath,
    output: AnyPath,
    layers: str | Sequence[str] = "all",
    *,
    device: str = "auto",
    custom_ops: Sequence[AnyPath] = (),
) -> list[str]:
    """Write a copy of a model that also returns its layers; any runtime can run it.

    Args:
        model: Path of the ONNX file.
        output: The file to write; not the model itself.
        layers: Selectors, see ``lsa_onnx.layers.plan_layers``.
        device: Where the model is to run: "auto", "cpu", "cuda" or "cuda:N".
        custom_ops: Libraries of custom operators that the model needs; their code is run.

    Returns:
        The names of the outputs that were added.

    Raises:
        LsaError: The model cannot be read, nothing matches, or the file cannot be written.
    """
    from lsa_onnx.instrumented import write_exposed
    from lsa_onnx.runtime.devices import resolve_device

    where = resolve_device(device, [os.fspath(each) for each in custom_ops])
    return write_exposed(_path(model), os.fspath(output), _texts(layers), where)


def _told(kind: type[T], options: T | None, choices: Any) -> T:
    """What ``options`` and ``choices`` say together.

    Raises:
        DataError: A value is not usable.
        TypeError: ``options`` is of another class, or a keyword is none of its fields.
    """
    from lsa_onnx.attacks.choices import unknown

    if options is not None and not isinstance(options, kind):
        raise TypeError(f"options is of type {type(options).__name__}, not {kind.__name__}")
    fields: dict[str, dataclasses.Field[Any]] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    for name in choices:
        if name not in fields:
            near = next((each for each in _FLAGS.get(name, ()) if each in fields), None)
            if near is not None:
                raise TypeError(f"the flag --{name} is the option {near!r} here, a list of names")
            raise TypeError(str(unknown("option", name, fields)))
    given = {name: _listed(value, str(fields[name].type)) for name, value in choices.items()}
    return kind(**given) if options is None else dataclasses.replace(options, **given)  # type: ignore[type-var]


def _listed(value: Any, kind: str) -> Any:
    """A single value of a field that takes any number of them, as a list."""
    single = isinstance(value, str | os.PathLike | float | int)
    return [value] if single and kind.startswith("tuple[str") else value


def _texts(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _path(model: AnyPath) -> str:
    if isinstance(model, str | os.PathLike):
        return os.fspath(model)
    raise DataError(
        f"a model is given as {type(model).__name__}, and a path is wanted, so that the report can say which file "
        "it is about; write the model with onnx.save first"
    )


def _paths(models: Any) -> list[str]:
    return [_path(model) for model in (models if isinstance(models, list | tuple) else [models])]
