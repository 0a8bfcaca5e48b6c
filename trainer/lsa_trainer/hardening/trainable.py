"""What a model, its samples and the options must be like, all of it known before a scan, which may take minutes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.prediction import Head, model_head
from lsa_onnx.scanning.clean import require_known_labels
from lsa_onnx.scanning.subject import Subject
from lsa_trainer.axes import shapes_of
from lsa_trainer.hardening.parity import widened
from lsa_trainer.module import OnnxModule
from lsa_trainer.objectives.rows import sample_rows
from lsa_trainer.options import HardenOptions
from lsa_trainer.trainee import OnnxTrainee
from lsa_trainer.training.augmentation import Augmentation
from lsa_trainer.training.data import TrainingSet

_LEAST_SAMPLES = 10
# Samples that the model is asked about beforehand.
_ASKED = 8
_IMAGE_AXES = 3


def require_own_input(subject: Subject) -> None:
    """Refuse what a scan can perturb and training cannot.

    Raises:
        DataError: An inner tensor is perturbed, or an input has no row per sample.
    """
    path = str(subject.loaded.path)
    if subject.promotion is not None:
        raise DataError(
            f"{subject.promotion.told}, and {path!r} cannot be trained through it: training takes samples "
            "of an input of floats; give a model with one, or use `lsa-onnx scan`"
        )
    if subject.whole:
        raise DataError(
            f"input {next(iter(subject.whole))!r} of {path!r} has one value for all samples, and training "
            "takes a row per sample; make it a constant of the model, or use `lsa-onnx scan`"
        )


def require_trainable(subject: Subject, module: OnnxModule, options: HardenOptions) -> None:
    """Hold a model and its data to what training needs, whatever layers are chosen.

    Raises:
        ModelError: Inputs or outputs do not count samples along their first axis, or outputs are no numbers.
        DataError: Samples, labels or options do not fit.
    """
    _require_batch(subject, module)
    _require_samples(len(subject.dataset))
    _require_images(subject, options)
    _require_tensorboard(options)
    head = head_of(subject, options)
    outputs = outputs_of(subject, module, head)
    trainee = trainee_of(subject, module, outputs, head=head)
    data = samples_of(subject, most=_ASKED)
    _require_rows(trainee, data, outputs)
    answers = answers_of(trainee, data)
    _require_numbers(answers, len(data))
    _require_labels(subject, head, answers)


def head_of(subject: Subject, options: HardenOptions) -> Head | None:
    """How a class is read, ``None`` for a model without classes."""
    return model_head(subject.model, options.decision)


def outputs_of(subject: Subject, module: OnnxModule, head: Head | None) -> list[str]:
    """The logits, or without classes every float output.

    Raises:
        ModelError: There is none.
    """
    logits = head.logits if head is not None else None
    scored = head is not None and (head.binary or head.kind == "scores")
    if logits and (scored or logits in module.tensor_names):
        return [logits]
    floats = {v.name for v in subject.model.outputs if v.dtype.startswith(("float", "bfloat"))}
    found = [name for name in subject.outputs if name in floats]
    if not found:
        raise ModelError(
            f"no output of {str(subject.model.path)!r} is made of floats, so there is nothing to fit"
        )
    return found


def trainee_of(
    subject: Subject,
    module: OnnxModule,
    tensors: Sequence[str],
    device: Any = "cpu",
    head: Head | None = None,
) -> OnnxTrainee:
    """The model behind its normalisation, returning ``tensors``; ``device`` is where ``module`` is.

    Where ``head`` tells two classes apart by one score, its logits are given in two columns.
    """
    scale, offset = (
        (None, None)
        if subject.spec.is_identity
        else (
            torch.from_numpy(array).to(device, torch.float32)
            for array in (subject.scale, subject.offset)
        )
    )
    inputs = [subject.input.name, *(value.name for value in subject.held)]
    return OnnxTrainee(
        module,
        list(dict.fromkeys(tensors)),
        inputs,
        scale=scale,
        offset=offset,
        one_by_one=not _is_free(subject, module),
        single=head.logits if head is not None and head.binary else None,
    )


def samples_of(subject: Subject, device: Any = "cpu", most: int | None = None) -> TrainingSet:
    """The first ``most`` samples, or all, in the types that a module computes in: float32 for half precision.

    Raises:
        DataError: They do not fit into memory, or one cannot be read.
    """
    data = TrainingSet.of(subject, device, most)
    extra = {name: widened(tensor) for name, tensor in data.extra.items()}
    return TrainingSet(widened(data.x), data.y, extra)


def answers_of(trainee: Any, data: TrainingSet) -> dict[str, Tensor]:
    """What a model in evaluation mode says of samples, by name of the tensor."""
    trainee.eval()
    with torch.no_grad():
        found: dict[str, Tensor] = trainee(data.x, *data.extra.values())
    return found


def misfit(labels: Sequence[int], outputs: Mapping[str, Sequence[int]]) -> str | None:
    """Why labels cannot be what a model without classes should give; ``None`` if they can.

    Args:
        labels: Their shape, (n, ...). An axis of length 1 more or less makes no difference.
        outputs: Of each output that would be fitted, by name, the shape, (n, ...).
    """
    given = f"labels of shape {_by_sample(labels)}"
    listed = ", ".join(f"{name!r} of shape {_by_sample(s)}" for name, s in outputs.items())
    if len(outputs) > 1:
        return f"{given} are for one output, and the model has {len(outputs)}: {listed}"
    fits = all(_longer(labels) == _longer(shape) for shape in outputs.values())
    return None if fits else f"{given} do not fit output {listed}"


def _longer(shape: Sequence[int]) -> list[int]:
    """What counts of the shape of a sample."""
    return [size for size in shape[1:] if size != 1]


def _by_sample(shape: Sequence[int]) -> str:
    return f"(n, {', '.join(map(str, shape[1:]))})" if len(shape) > 1 else "(n,)"


def _is_free(subject: Subject, module: OnnxModule) -> bool:
    return subject.layout.free or module.batch_is_free


def _require_batch(subject: Subject, module: OnnxModule) -> None:
    leading, path = subject.layout.leading, str(subject.model.path)
    if leading is None:
        raise ModelError(
            f"input {subject.input.name!r} of {path!r} has shape {subject.input.shape}, whose first "
            "dimension is no batch: such a model can be scanned, but not trained"
        )
    if leading != 1 and not _is_free(subject, module):
        raise ModelError(
            f"the batch of {path!r} is fixed to {leading} samples; "
            "export it with a free batch, or with a batch of 1, to train it"
        )


def _require_samples(count: int) -> None:
    if count < _LEAST_SAMPLES:
        raise DataError(
            f"{count} samples are too few to train on and to verify with; give {_LEAST_SAMPLES} or more"
        )


def _require_images(subject: Subject, options: HardenOptions) -> None:
    asked = [f"--crop {options.crop}"] * bool(options.crop) + ["--flip"] * options.flip
    if not asked:
        return
    shape = subject.dataset.sample_shape
    if subject.channel_axis is None or len(shape) != _IMAGE_AXES:
        raise DataError(
            f"{' '.join(asked)}: crops and flips need images, and input {subject.input.name!r} has "
            f"shape {_by_sample((0, *shape))}; accepted are (n, channels, height, width), --layout NCHW, and "
            "(n, height, width, channels), --layout NHWC: declare that of images, else leave it out"
        )
    augment = Augmentation(options.seed, options.crop, options.flip, subject.channel_axis)
    augment(torch.zeros(1, *shape), torch.zeros(1, dtype=torch.int64), 0)


def _require_tensorboard(options: HardenOptions) -> None:
    if options.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise DataError(
            "--tensorboard: TensorBoard is not installed; run pip install 'lsa-onnx[tensorboard]', or leave "
            "it out"
        )


def _require_rows(trainee: OnnxTrainee, data: TrainingSet, outputs: Sequence[str]) -> None:
    """Refuse outputs whose first axis does not count samples."""
    for count in (1,) if trainee.one_by_one else (2, 3):
        for name, shape in shapes_of(trainee, data, outputs, count).items():
            if shape[:1] != (count,):
                raise ModelError(
                    f"output {name!r} has shape {shape} for {count} samples; training needs one row per "
                    f"sample, shape ({count}, ...): export the model with the batch as the first axis of "
                    "its outputs"
                )


def _require_numbers(answers: Mapping[str, Tensor], count: int) -> None:
    for name, values in answers.items():
        if not sample_rows(values, count).isfinite().all(1).any():
            raise ModelError(
                f"output {name!r} is NaN or infinite for each of the first {count} samples, whose own values "
                "are finite; training needs outputs that are numbers: `lsa-onnx scan MODEL` shows where "
                "they cease to be"
            )


def _require_labels(subject: Subject, head: Head | None, answers: Mapping[str, Tensor]) -> None:
    """Refuse labels that are no classes of the model, or do not fit its output."""
    labels = subject.dataset.labels
    if labels is None:
        return
    if head is not None:
        scores = next(iter(answers.values()))
        require_known_labels(labels, sample_rows(scores, len(scores)).shape[1])
        return
    objection = misfit(labels.shape, {name: values.shape for name, values in answers.items()})
    if objection is not None:
        raise DataError(
            f"{objection}; give numbers in the shape of the output, or --labels none, which has the model's "
            "own answers teach"
        )
