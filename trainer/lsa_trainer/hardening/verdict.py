"""Is the new file better? Both files, attacked alike on samples that training never saw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from lsa_onnx.evaluation import EvaluationOptions, evaluate
from lsa_onnx.report import Evaluation
from lsa_onnx.report.hardening import Comparison, Share
from lsa_onnx.scan import Listener
from lsa_trainer.hardening.prepare import Prepared
from lsa_trainer.options import HardenOptions
from lsa_trainer.training.opponent import Opponent
from lsa_trainer.training.setup import attack_to_validate_with, criterion_for
from lsa_trainer.training.validation import Validator

Array = NDArray[Any]
# Of the training attack's steps: the verdict on models without classes is passed with so many more.
_STRONGER = 5


def held_out(prepared: Prepared) -> dict[str, Array]:
    """The verification samples as arrays, in units of the declared range: what an npz for the tool holds."""
    data = prepared.verification
    arrays = {"x" if not data.extra else prepared.subject.input.name: data.x.cpu().numpy()}
    arrays |= {name: tensor.cpu().numpy() for name, tensor in data.extra.items()}
    if prepared.head is not None:
        arrays["y"] = prepared.verification_targets[0].cpu().numpy()
    return arrays


def evaluate_file(
    path: Path, prepared: Prepared, options: HardenOptions, data: Path, listener: Listener
) -> Evaluation:
    """Clean and robust accuracy of a file in ONNX Runtime, on the samples of ``held_out`` in ``data``."""
    spec = prepared.subject.spec
    return evaluate(
        path,
        EvaluationOptions(
            data=data,
            y_key="y",
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
        ),
        listener,
    )


def compare_files(
    before: Evaluation, after: Evaluation, options: HardenOptions, *, taught: bool
) -> Comparison:
    """Two evaluations on the same samples."""
    (was,), (now,) = before.results, after.results
    return Comparison(
        measure="accuracy",
        labels="predicted" if taught else "given",
        attack=options.verify_attack,
        eps=options.eps,
        norm=options.norm,
        clean_before=Share(before.clean.value, before.clean.interval, was.n),
        clean_after=Share(after.clean.value, after.clean.interval, now.n),
        robust_before=Share(was.robust_accuracy, was.interval, was.n),
        robust_after=Share(now.robust_accuracy, now.interval, now.n),
    )


def fit_of(prepared: Prepared, options: HardenOptions) -> tuple[float, float]:
    """Scores on clean and on attacked inputs of a model without classes, as its weights are now."""
    job, targets = prepared.job, prepared.verification_targets
    attack = attack_to_validate_with(options, job)
    criterion = criterion_for(options, job, targets, targets[0])
    opponent = Opponent(job, job.trainee.reading(job.outputs), criterion)
    steps = options.verify_steps or _STRONGER * max(options.steps, options.validation_steps)
    seed = options.seed + 1
    scores = Validator(opponent, prepared.verification, targets, attack, steps, seed)()
    return scores.clean, scores.robust


def compare_fits(
    before: tuple[float, float],
    after: tuple[float, float],
    prepared: Prepared,
    options: HardenOptions,
) -> Comparison:
    """Two results of ``fit_of``."""
    n = len(prepared.verification)
    shares = [Share(value, None, n) for pair in zip(before, after, strict=True) for value in pair]
    return Comparison(
        measure="fit",
        labels="predicted" if prepared.taught else "given",
        attack="pgd",
        eps=options.eps,
        norm=options.norm,
        clean_before=shares[0],
        clean_after=shares[1],
        robust_before=shares[2],
        robust_after=shares[3],
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
