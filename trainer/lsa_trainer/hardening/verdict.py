"""Is the new file better? Both files, attacked alike on samples that training never saw."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.files import writing_atomically
from lsa_onnx.report.hardening import Comparison, Share
from lsa_onnx.rewrite.differentiate import NotDifferentiable
from lsa_onnx.scanning import Listener
from lsa_trainer.folder import LABELS, OTHER_LABELS
from lsa_trainer.hardening.prepare import Prepared
from lsa_trainer.options import HardenOptions
from lsa_trainer.training.opponent import Opponent
from lsa_trainer.training.setup import attack_to_validate_with, criterion_for
from lsa_trainer.training.validation import Validator

Array = NDArray[Any]
# Of the training attack's steps: the verdict on models without classes is passed with so many more.
_STRONGER = 5


@dataclass(frozen=True)
class Standing:
    """How a model does on the samples that training never saw, as they are and attacked."""

    clean: Share
    robust: Share


def save_held_out(prepared: Prepared, path: Path) -> None:
    """Write the verification samples as an npz for the tool, in units of the declared range.

    Raises:
        DataError: The file cannot be written.
    """
    data = prepared.verification
    arrays = {"x" if not data.extra else prepared.subject.input.name: data.x.cpu().numpy()}
    arrays |= {name: tensor.cpu().numpy() for name, tensor in data.extra.items()}
    if prepared.head is not None:
        arrays[_label_key(prepared)] = prepared.verification_targets[0].cpu().numpy()
    with writing_atomically(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy_format.write_array(member, array, allow_pickle=False)


def _label_key(prepared: Prepared) -> str:
    names = {prepared.subject.input.name, *prepared.verification.extra}
    return OTHER_LABELS if LABELS in names else LABELS


def evaluate_file(
    path: Path, prepared: Prepared, options: HardenOptions, data: Path, listener: Listener
) -> Standing:
    """Clean and robust accuracy of a file in ONNX Runtime, on the samples of ``save_held_out`` in ``data``.

    Raises:
        ModelError: The attack needs a gradient, and the file has none in ONNX Runtime.
        LsaError: The file cannot be evaluated for another reason.
    """
    try:
        found = evaluate(path, _evaluation_options(prepared, options, data), listener)
    except NotDifferentiable as error:
        # Its advice is to users of evaluate.
        reason = str(error).rpartition("; ")[0]
        raise ModelError(
            f"the verdict attacks with {options.verify_attack!r} in ONNX Runtime, for which {reason}; give "
            "--verify-attack square, which needs no gradient"
        ) from error
    (attacked,) = found.results
    n = attacked.n
    return Standing(
        Share(found.clean.value, found.clean.interval, n),
        Share(attacked.robust_accuracy, attacked.interval, n),
    )


def _evaluation_options(
    prepared: Prepared, options: HardenOptions, data: Path
) -> EvaluationOptions:
    spec = prepared.subject.spec
    return EvaluationOptions(
        data=data,
        y_key=_label_key(prepared),
        seed=options.seed,
        range=(spec.low, spec.high),
        mean=spec.mean,
        std=spec.std,
        layout=spec.layout,
        decision=options.decision,
        perturb=options.perturb,
        batch=options.batch,
        max_memory_bytes=options.max_memory_bytes,
        device=options.device,
        norm=options.norm,
        attacks=(options.verify_attack,),
        steps=options.steps_of_verdict,
        eps_list=(options.eps,),
    )


def fit_of(prepared: Prepared, options: HardenOptions) -> Standing:
    """Scores on clean and on attacked inputs of a model without classes, as its weights are now."""
    job, targets = prepared.job, prepared.verification_targets
    attack = attack_to_validate_with(options, job)
    criterion = criterion_for(options, job, targets, targets[0])
    opponent = Opponent(job, job.trainee.reading(job.outputs), criterion)
    steps = options.verify_steps or _STRONGER * max(options.steps, options.validation_steps)
    seed = options.seed + 1
    scores = Validator(opponent, prepared.verification, targets, attack, steps, seed)()
    n = len(prepared.verification)
    return Standing(Share(scores.clean, None, n), Share(scores.robust, None, n))


def compare(
    before: Standing, after: Standing, prepared: Prepared, options: HardenOptions
) -> Comparison:
    """Two standings on the same samples."""
    classes = prepared.job.classes
    return Comparison(
        measure="accuracy" if classes else "fit",
        labels="predicted" if prepared.taught else "given",
        attack=options.verify_attack if classes else "pgd",
        eps=options.eps,
        norm=options.norm,
        clean_before=before.clean,
        clean_after=after.clean,
        robust_before=before.robust,
        robust_after=after.robust,
    )


def inputs_of(prepared: Prepared, count: int) -> Mapping[str, Array]:
    """Some verification samples as the file itself takes them."""
    data = prepared.verification.rows(torch.arange(min(count, len(prepared.verification))))
    subject = prepared.subject
    feeds = {subject.input.name: data.x.cpu().numpy()}
    feeds |= {name: tensor.cpu().numpy() for name, tensor in data.extra.items()}
    kinds = {value.name: value.dtype for value in (subject.input, *subject.held)}
    return {
        name: array.astype(kinds[name], copy=False)
        for name, array in subject.as_deployed(feeds).items()
    }
