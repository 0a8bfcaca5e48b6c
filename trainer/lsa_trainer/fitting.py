"""``fit``: AT-LR for a module whose source is at hand."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.files import check_writable
from lsa_trainer.axes import batch_axes
from lsa_trainer.export import export_onnx
from lsa_trainer.listener import TrainingListener
from lsa_trainer.objectives import require_gamma
from lsa_trainer.options import TrainingOptions
from lsa_trainer.trainee import BATCH_NORM_LAYERS, Job, SourceTrainee
from lsa_trainer.training.claim import claimed
from lsa_trainer.training.data import TrainingSet, split
from lsa_trainer.training.loop import Trained, train
from lsa_trainer.training.minibatches import Material
from lsa_trainer.training.setup import keep_channels_last, launch

Samples: TypeAlias = Tensor | NDArray[Any]

# Held out to choose among checkpoints by: so many samples, but at most that part of them.
_VALIDATION = 512
_LARGEST_PART = 0.2
_LEAST = 10
_EXPORTED = 8
# Options that change what is written beside the weights, not the weights.
_NOT_THE_RUN = frozenset({"tensorboard"})


def fit(
    module: torch.nn.Module,
    x: Samples,
    y: Samples,
    *,
    layers: Sequence[str] = (),
    options: TrainingOptions | None = None,
    binary: bool = False,
    folder: str | Path,
    low: float = 0.0,
    high: float = 1.0,
    device: str = "auto",
    listener: TrainingListener | None = None,
    export: str | Path | None = None,
) -> Trained:
    """Train a classifier with AT-LR (Khalooei et al. 2023, Alg. 3).

    A run that was interrupted is gone on with by the same call.

    Args:
        module: Gives logits, shape (n, classes), for a batch of samples. Its weights become those of the
            best validation; it ends on the device, in evaluation mode.
        x: Samples, shape (n, ...), floats in ``low`` to ``high``; images as (n, channels, height, width).
            They are rounded to the precision of the module's parameters.
        y: Their classes, shape (n,), whole numbers from 0.
        layers: Names of submodules whose results the layer-wise term keeps in place; each must run once.
        options: How to train.
        binary: The module gives one logit for two classes instead, shape (n, 1) or (n,), and labels are 0
            and 1.
        folder: For checkpoints and the log.
        low: Lower end of the range that attacks keep to.
        high: Upper end.
        device: "auto", "cpu", "cuda" or "cuda:N".
        listener: Told of progress.
        export: An ONNX file to write at the end, with input "x" and output "y".

    Returns:
        Scores before and after, on a part of the samples that was held out, and how they came about.

    Raises:
        LsaError: The samples or the options do not fit the module, training failed, or the module cannot
            be exported.
    """
    options = options or TrainingOptions()
    if not math.isfinite(high - low) or low >= high:
        raise DataError(
            f"low {low:g} and high {high:g} are no range; give finite numbers, low below high"
        )
    if export is not None:
        check_writable(export)
    fabric = launch(options, device)
    data = _samples(x, y, low, high, _precision(module))
    record = _record(module, data, layers, options, (low, high), binary)
    data = TrainingSet(data.x.to(fabric.device), data.y)
    module.to(fabric.device)
    if options.channels_last:
        keep_channels_last(module)
    job = _job(module, data, layers, options, (low, high), binary)
    material = _material(data, options)
    with claimed(Path(folder), fabric):
        trained = train(
            job,
            material,
            options,
            fabric=fabric,
            folder=Path(folder),
            record=record,
            listener=listener,
        )
    module.eval()
    module.zero_grad(set_to_none=True)
    if export is not None and fabric.is_global_zero:
        export_onnx(module, [data.x[:_EXPORTED]], export, ["x"], ["y"])
    return trained


def _precision(module: torch.nn.Module) -> torch.dtype:
    """What the module computes in."""
    kinds = [p.dtype for p in module.parameters() if p.is_floating_point()]
    return kinds[0] if kinds else torch.get_default_dtype()


def _samples(x: Samples, y: Samples, low: float, high: float, kind: torch.dtype) -> TrainingSet:
    """The samples as tensors on the CPU, those of ``x`` of type ``kind``.

    Raises:
        DataError: They are not what ``fit`` takes.
    """
    values, labels = (_tensor(name, each) for name, each in (("x", x), ("y", y)))
    if not values.is_floating_point() or values.ndim < 2:
        raise DataError(
            f"x is {values.dtype} of shape {tuple(values.shape)}; give floats of shape (n, ...), "
            f"scaled to {low:g} to {high:g}"
        )
    if labels.is_floating_point() or labels.shape != values.shape[:1]:
        raise DataError(
            f"y is {labels.dtype} of shape {tuple(labels.shape)}; give whole numbers of shape "
            f"({len(values)},), one for each sample"
        )
    if len(values) < _LEAST:
        raise DataError(f"{len(values)} samples are too few to train on; give {_LEAST} or more")
    lowest, highest = float(values.min()), float(values.max())
    if not low <= lowest <= highest <= high:  # nor where one of them is NaN
        raise DataError(
            f"x reaches from {lowest:g} to {highest:g}, outside of {low:g} to {high:g}, which attacks keep "
            "to; give low and high, or scale the samples"
        )
    return TrainingSet(values.to(kind), labels.long())


def _tensor(name: str, given: Any) -> Tensor:
    try:
        return torch.as_tensor(given).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name} is a {type(given).__name__}, which makes no tensor; give a tensor or an array of all samples"
        ) from error


def _job(
    module: torch.nn.Module,
    data: TrainingSet,
    layers: Sequence[str],
    options: TrainingOptions,
    ends: tuple[float, float],
    binary: bool,
) -> Job:
    """What is trained.

    Raises:
        LsaError: The module has no weights, no logits, or not those layers.
    """
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if not parameters:
        raise ModelError(
            "no parameter of the module requires a gradient, so there is none to train"
        )
    if isinstance(layers, str):
        raise DataError(
            f"layers is the text {layers!r}; give a list of names, such as [{layers!r}]"
        )
    named = tuple(dict.fromkeys(layers))
    _require_submodules(module, named)
    require_gamma(options.gamma, named)
    trainee = SourceTrainee(module, (SourceTrainee.output, *named), binary=binary)
    _require_logits(trainee, data)
    return Job(
        trainee=trainee,
        outputs=(SourceTrainee.output,),
        layers=batch_axes(trainee, data, named, "leave it out of layers"),
        parameters=parameters,
        statistics={} if options.batch_norm == "frozen" else dict(_statistics(module)),
        low=ends[0],
        high=ends[1],
        channel_axis=1 if data.x.ndim == 4 else None,
    )


def _require_submodules(module: torch.nn.Module, layers: Sequence[str]) -> None:
    known = {name for name, _ in module.named_modules() if name}
    for name in layers:
        if name not in known:
            raise DataError(
                f"there is no submodule {name!r} to regularise; accepted are {', '.join(sorted(known))}"
            )


def _require_logits(trainee: SourceTrainee, data: TrainingSet) -> None:
    """Hold the module's result, and the labels, to what a classifier has."""
    trainee.eval()
    shown = tuple(data.x[:2].shape)
    with torch.no_grad():
        try:
            values = trainee(data.x[:2])
        except (RuntimeError, TypeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise ModelError(f"the module cannot take x of shape {shown}: {reason}") from error
    logits = values[SourceTrainee.output]
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else None
    if shape is None or len(shape) != 2 or shape[0] != 2 or shape[1] < 2:
        found = type(logits).__name__ if shape is None else f"shape {shape}"
        raise ModelError(
            f"for two samples the module gives {found}; it must give logits, shape (2, classes), or with "
            "binary=True one of two classes, shape (2, 1)"
        )
    _require_known_labels(data.y, shape[1])
    for name in trainee.tensors:
        if name not in values:
            raise ModelError(f"submodule {name!r} does not run; regularise another layer")
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise ModelError(
                f"submodule {name!r} gives {type(value).__name__}, not a tensor; regularise another layer"
            )


def _require_known_labels(labels: Tensor | None, classes: int) -> None:
    known = range(classes)
    wrong = [] if labels is None else [c for c in labels.unique().tolist() if c not in known]
    if wrong:
        raise DataError(
            f"label {wrong[0]} is not one of the model's {classes} classes (0..{classes - 1}); give y that "
            "counts from 0"
        )


def _statistics(module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What BatchNorm layers keep of the batches that they saw."""
    for prefix, layer in module.named_modules():
        if isinstance(layer, BATCH_NORM_LAYERS):
            yield from layer.named_buffers(prefix, recurse=False)


def _material(data: TrainingSet, options: TrainingOptions) -> Material:
    """A validation split made first, in each class about the same share."""
    count = len(data)
    share = min(_VALIDATION / count, _LARGEST_PART)
    parts = split(count, options.seed, share, 0.0, data.y)
    train, held = (data.rows(index) for index in (parts.training, parts.validation))
    return Material(train, _targets(train), held, _targets(held))


def _targets(part: TrainingSet) -> tuple[Tensor]:
    if part.y is None:
        raise ValueError("samples of fit have labels")
    return (part.y.to(part.x.device),)


def _record(
    module: torch.nn.Module,
    data: TrainingSet,
    layers: Sequence[str],
    options: TrainingOptions,
    ends: tuple[float, float],
    binary: bool,
) -> Mapping[str, Any]:
    """What tells one run from another; not the values of weights, which a notebook has changed by then."""
    fields = {f.name for f in dataclasses.fields(TrainingOptions)} - _NOT_THE_RUN
    shapes = [f"{name} {tuple(p.shape)}" for name, p in module.named_parameters()]
    return {
        **{name: getattr(options, name) for name in sorted(fields)},
        "samples": _digest(data),
        "module": f"{type(module).__name__}: {', '.join(shapes)}",
        "layers": list(layers),
        "range": list(ends),
        # Runs of before there was such a thing have none.
        **({"binary": True} if binary else {}),
    }


def _digest(data: TrainingSet) -> str:
    """SHA-256 (hex) of the samples and their labels."""
    found = hashlib.sha256(str((data.x.shape, data.x.dtype)).encode())
    for tensor in (data.x, data.y):
        if tensor is not None:
            found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
