"""Example comparisons for the tests of whatever consumes one: made of the example reports and evaluations."""

from __future__ import annotations

import dataclasses

from lsa_onnx.comparing import Side, compare
from lsa_onnx.gates import parse_gates
from lsa_onnx.report.comparison import Comparison, Unmatched
from lsa_onnx.report.document import Accuracy, Report
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.sections import GateOutcome
from tests.report.evaluations import curve, hostile
from tests.report.examples import (
    HOSTILE_NAMES,
    empty_report,
    hostile_report,
    large_report,
    small_report,
)
from tests.report.parts import distribution, mvl_list

COMMAND = ["lsa-onnx", "compare", "before.json", "after.json"]


def made(before: Report | Evaluation, after: Report | Evaluation, *gates: str) -> Comparison:
    """The comparison of two documents, with what gates find in the second."""
    found = compare(Side(before, "before.json"), Side(after, "after.json"), COMMAND)
    asked = parse_gates(gates, always=True)
    return dataclasses.replace(found, gates=asked.judge_change(found, before, after))


def hardened(report: Report) -> Report:
    """Each layer moves half as far, but for the first, whose norm alone grew."""
    results = []
    for result in report.perturbations:
        layers = []
        for at, score in enumerate(result.layers):
            mean, moved = score.relative_error.mean, score.absolute_error.mean
            if mean is None or moved is None:
                layers.append(score)
                continue
            cm = distribution(mean / (100 if at == 0 else 2))
            absolute = distribution(moved * (0.9 if at == 0 else 0.5))
            layers.append(dataclasses.replace(score, relative_error=cm, absolute_error=absolute))
        mvl = mvl_list(result.name, layers, 0.5)
        results.append(dataclasses.replace(result, layers=layers, mvl=mvl))
    first = dataclasses.replace(results[0], accuracy=Accuracy(0.5, 256, (0.44, 0.56)))
    return dataclasses.replace(report, perturbations=[first, *results[1:]], mvl=first.mvl)


def better() -> Comparison:
    """The small report before and after a hardening, both models at hand."""
    found = made(small_report(), hardened(small_report()), "mvl>0", "cm@pgd>2", "regression")
    return dataclasses.replace(found, agreement=Accuracy(0.9961, 256, (0.978, 0.9993)))


def worse() -> Comparison:
    """The same the other way round: accuracy under pgd fell, and a layer entered the list."""
    return made(hardened(small_report()), small_report(), "accuracy@pgd<40%", "regression")


def mixed() -> Comparison:
    """Accuracy under pgd rose, and a layer entered the list that moves more than before."""
    after = small_report()
    first, *rest = after.perturbations
    means = (0.94, 0.6, 0.97, 0.61)
    layers = [
        dataclasses.replace(score, relative_error=distribution(mean))
        for score, mean in zip(first.layers, means, strict=True)
    ]
    mvl = mvl_list("pgd", layers, 0.5)
    share = Accuracy(0.5, 256, (0.44, 0.56))
    first = dataclasses.replace(first, layers=layers, mvl=mvl, accuracy=share)
    return made(small_report(), dataclasses.replace(after, perturbations=[first, *rest], mvl=mvl))


def evaluated() -> Comparison:
    """Two evaluations, the second of a model that breaks sooner under pgd."""
    return made(curve(), curve(left=45), "r&g@pgd<130")


def hostile_comparison() -> Comparison:
    """Every name attacks the reader."""
    found = made(hostile_report(), hostile_report())
    name, other = HOSTILE_NAMES[0], HOSTILE_NAMES[3]
    return dataclasses.replace(
        found,
        before=dataclasses.replace(found.before, source=name, created=other),
        after=dataclasses.replace(found.after, source=other),
        unmatched=[Unmatched("before", each, each) for each in HOSTILE_NAMES],
        notes=HOSTILE_NAMES,
        gates=[GateOutcome(each, each, 1.0, "failed", each) for each in HOSTILE_NAMES],
        command=["lsa-onnx", *HOSTILE_NAMES],
        created=other,
        tool_version=name,
    )


def unlike() -> Comparison:
    """Documents that have little in common: nothing was scored in the first."""
    empty = dataclasses.replace(empty_report(), perturbations=small_report().perturbations)
    return made(empty, small_report())


def all_comparisons() -> dict[str, Comparison]:
    """Every example by name, for ``parametrize``."""
    return {
        "better": better(),
        "worse": worse(),
        "mixed": mixed(),
        "same": made(small_report(), small_report()),
        "large": made(large_report(), large_report(seed=9), "mvl>3"),
        "evaluated": evaluated(),
        "hostile": hostile_comparison(),
        "hostile-evaluations": made(hostile(), hostile()),
        "unlike": unlike(),
    }
