"""Example evaluations with realistic figures, for the tests of whatever consumes one."""

from __future__ import annotations

import dataclasses
from typing import Any

from lsa_onnx.report.evaluation import AttackAtEps, AttackSummary, Evaluation, EvaluationRun
from lsa_onnx.report.evaluations import Difference, Evaluations
from lsa_onnx.report.sections import Accuracy, ReportWarning
from lsa_onnx.statistics import wilson_interval
from tests.report.examples import HOSTILE_NAMES
from tests.report.parts import data_section, input_section, model_section

N = 200
CLEAN = 198


def at_eps(attack: str, eps_text: str, eps: float, correct: int, **changes: Any) -> AttackAtEps:
    """``attack`` at ``eps``, after which ``correct`` of 198 samples are still right."""
    broken = CLEAN - correct
    robust, success = correct / N, broken / CLEAN
    plain = AttackAtEps(
        attack=attack,
        eps=eps,
        eps_text=eps_text,
        norm="linf",
        parameters={"steps": 20, "restarts": 1, "objective": "margin", "momentum": None},
        white_box=attack != "square",
        clean_accuracy=CLEAN / N,
        robust_accuracy=robust,
        interval=wilson_interval(correct, N),
        n=N,
        correct=correct,
        broken=broken,
        success_rate=success,
        success_interval=wilson_interval(broken, CLEAN),
        right="1" * correct + "0" * (N - correct),
        seconds=1.26,
    )
    return dataclasses.replace(plain, **changes)


def evaluation_run() -> EvaluationRun:
    """A run on the CPU of a machine with two cores."""
    return EvaluationRun(
        seed=0,
        device="cpu",
        provider="CPUExecutionProvider",
        device_note=None,
        onnxruntime="1.31.1",
        onnx="1.23.2",
        python="3.11.9",
        platform="Linux-6.1-x86_64",
        threads=2,
        batch=64,
        batch_mode="free",
        batch_note="the model's batch dimension is free",
        restarts=1,
        seconds=4.2,
        command=["lsa-onnx", "evaluate", "mnist-b.onnx", "--eps-list", "8/255,0.3"],
    )


def evaluation(results: list[AttackAtEps], **changes: Any) -> Evaluation:
    """An evaluation with these results, and no summaries."""
    plain = Evaluation(
        tool_version="0.1.0",
        created="2025-03-14T15:09:26Z",
        model=model_section(),
        input=input_section(),
        data=data_section(),
        run=evaluation_run(),
        labels="given",
        clean=Accuracy(CLEAN / N, N, wilson_interval(CLEAN, N)),
        clean_accuracy=CLEAN / N,
        results=results,
        summaries=[],
        warnings=[],
    )
    return dataclasses.replace(plain, **changes)


def sweep() -> Evaluation:
    """Two attacks at two strengths, the strong one asked for first."""
    return evaluation(
        [
            at_eps("pgd", "0.3", 0.3, 3),
            at_eps("pgd", "8/255", 8 / 255, 65),
            at_eps("square", "0.3", 0.3, 20),
            at_eps("square", "8/255", 8 / 255, 120),
        ],
        warnings=[ReportWarning("large-eps", "eps 0.3 is above 25 % of the range 0 to 1.")],
    )


def summary(attack: str, score: float, *broken: tuple[float | None, int]) -> AttackSummary:
    """What is left of ``N`` samples: ``broken`` says at which eps how many were."""
    return AttackSummary(
        attack=attack,
        norm="linf",
        eps=[0.0, 8 / 255, 0.3],
        r_and_g=score,
        interval=(score - 9.5, score + 9.5),
        minimal_eps=[eps for eps, count in broken for _ in range(count)],
    )


def curve(path: str = "mnist-b.onnx", left: int = 65) -> Evaluation:
    """From no attack to a strong one: ``left`` of 200 samples are right at 8/255 under pgd."""
    eps = [("0", 0.0), ("8/255", 8 / 255), ("0.3", 0.3)]
    pgd = [at_eps("pgd", *each, n) for each, n in zip(eps, (CLEAN, left, 3), strict=True)]
    square = [at_eps("square", *each, n) for each, n in zip(eps, (CLEAN, 120, 20), strict=True)]
    return evaluation(
        [*pgd, *square],
        model=model_section(path),
        summaries=[
            summary(
                "pgd", 99 + left / 2 + 1.5,
                (None, 3), (0.3, left - 3), (8 / 255, CLEAN - left), (0.0, 2),
            ),
            summary("square", 169.0, (None, 20), (0.3, 100), (8 / 255, 78), (0.0, 2)),
        ],
        warnings=[ReportWarning("large-eps", f"eps 0.3 of {path} is large.")],
    )  # fmt: skip


def beside() -> Evaluations:
    """Two models on the same samples, and a third that met others."""
    others = dataclasses.replace(data_section(), fingerprint="f" * 64)
    return Evaluations(
        tool_version="0.1.0",
        created="2025-03-14T15:09:26Z",
        evaluations=[
            curve("runs/1/net.onnx"),
            curve("runs/2/net.onnx", 85),
            dataclasses.replace(curve("other/net.onnx"), data=others),
        ],
        differences=[
            Difference(1, "pgd", None, 10.0, (6.5, 14.0)),
            Difference(1, "pgd", 0.0, 0.0, (0.0, 0.0)),
            Difference(1, "pgd", 8 / 255, 10.0, (6.5, 14.0)),
            Difference(1, "square", None, -1.25, (-3.0, 0.5)),
        ],
        command=["lsa-onnx", "evaluate", "runs/1/net.onnx", "runs/2/net.onnx", "other/net.onnx"],
    )


def all_documents() -> dict[str, Evaluations]:
    """Every example of several models by name, and every one of one model, for ``parametrize``."""
    alone = {
        name: dataclasses.replace(beside(), evaluations=[found], differences=[])
        for name, found in all_evaluations().items()
    }
    several = list(all_evaluations().values())
    everything = dataclasses.replace(beside(), evaluations=several, differences=[])
    return {**alone, "beside": beside(), "everything": everything}


def hopeless() -> Evaluation:
    """A model that was never right, attacked once: no rate of success."""
    nothing = at_eps(
        "fgsm", "0.1", 0.1, 0, broken=0, success_rate=None, success_interval=None,
        parameters={}, norm="l2", seconds=0.0,
    )  # fmt: skip
    return evaluation([nothing], clean=Accuracy(0.0, N, wilson_interval(0, N)), clean_accuracy=0.0)


def unlabelled() -> Evaluation:
    """Without labels the model's own predictions stand for them, so that all are right."""
    found = at_eps(
        "pgd", "10%", 0.1, 65, broken=135, success_rate=0.675,
        success_interval=wilson_interval(135, N), clean_accuracy=1.0,
    )  # fmt: skip
    clean = Accuracy(1.0, N, wilson_interval(N, N))
    return evaluation([found], labels="predicted", clean=clean, clean_accuracy=1.0)


def hostile() -> Evaluation:
    """Every text that a model, a path or a caller can bring acts on the reader's screen."""
    results = [
        at_eps(name, other, 0.1 * i, 65, norm=other, parameters={name: other})
        for i, (name, other) in enumerate(zip(HOSTILE_NAMES, HOSTILE_NAMES[::-1], strict=True))
    ]
    return evaluation(
        results,
        model=model_section(HOSTILE_NAMES[3]),
        warnings=[ReportWarning(HOSTILE_NAMES[0], HOSTILE_NAMES[3])],
    )


def all_evaluations() -> dict[str, Evaluation]:
    """Every example by name, for ``parametrize``."""
    return {
        "sweep": sweep(),
        "curve": curve(),
        "hopeless": hopeless(),
        "unlabelled": unlabelled(),
        "hostile": hostile(),
        "nothing": evaluation([]),
    }
