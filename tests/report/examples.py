"""Example reports with realistic figures, for the tests of whatever consumes a report.

``small_report`` is the paper's model B on MNIST, ``large_report`` a deep network under many
perturbations with every status a layer can have, ``hostile_report`` a model whose names attack the
reader, ``synthetic_report`` a scan without data, ``empty_report`` one in which nothing was scored,
``extended_report`` a part of a scan, with gates and pictures.
"""

from __future__ import annotations

import dataclasses
import math
import random
from itertools import pairwise

from lsa_onnx.report.document import (
    Accuracy,
    DataSection,
    FileDigest,
    GateOutcome,
    LayerInfo,
    LayerScore,
    MvlList,
    NotScored,
    ObserverCheck,
    Partial,
    PerturbationResult,
    Report,
    ReportWarning,
    Shard,
    Status,
    Verdict,
)
from tests.report.parts import (
    SAMPLES,
    attack_outcome,
    data_section,
    example,
    failed_score,
    input_section,
    layer_info,
    layer_score,
    model_section,
    mvl_list,
    perturbation,
    run_section,
)

PAPER_MEANS = {
    "pgd": [0.94, 0.92, 0.81, 0.61],
    "fgsm": [0.75, 0.70, 0.62, 0.55],
    "gaussian": [0.46, 0.43, 0.38, 0.33],
}
DEEP_STRENGTHS = {
    "pgd": 0.9,
    "fgsm": 0.6,
    "gaussian": 0.36,
    "salt": 0.27,
    "pepper": 0.21,
    "speckle": 0.15,
}
HOSTILE_NAMES = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "[bold red]markup[/bold red] [/] [link=https://example.invalid]x[/link]",
    "esc\x1b[31mape\r\n\x07\x00bell",
    "right\u202eto\u202cleft \u200bhidden",
    "\"quotes' & <!-- ampersand {{ 7*7 }} {% raw %}",
    "名前/層/" + "とても長い" * 12,
    "a/" + "very/" * 60 + "long/Relu_output_0",
]


def assemble(
    layers: list[LayerInfo],
    results: list[PerturbationResult],
    not_scored: list[NotScored],
    warnings: list[ReportWarning],
) -> Report:
    """A whole report around ``layers`` and ``results``; the first result gives the headline."""
    mvl = results[0].mvl if results else mvl_list("", [])
    verdict = _verdict(layers, mvl)
    return Report(
        tool_version="0.1.0",
        created="2025-03-14T15:09:26Z",
        model=model_section(nodes=3 * len(layers)),
        input=input_section(),
        data=data_section(),
        run=run_section(),
        accuracy=Accuracy(0.9844, SAMPLES, (0.9605, 0.9939)),
        layers=layers,
        not_scored=not_scored,
        perturbations=results,
        mvl=mvl,
        observer=ObserverCheck(SAMPLES, 2.9e-6, 3.4e-7, 0),
        verdict=verdict,
        warnings=warnings,
    )


def _verdict(layers: list[LayerInfo], mvl: MvlList) -> Verdict:
    if not layers:
        return Verdict("nothing scored", "No tensor of this model could be scored.", [])
    if not mvl.layers:
        return Verdict("no layer stands out", "No layer stands out under " + mvl.perturbation, [])
    count = f"{len(mvl.layers)} of {len(layers)} layers"
    headline = f"{count} move more than the rest under {mvl.perturbation}: {mvl.layers[0]} first."
    details = ["Under pgd 3 % of the samples keep their label; without it 98 % are right."]
    return Verdict("layers found", headline, details)


def small_report() -> Report:
    """Model B of the paper on MNIST: four layers, three perturbations, the published shape."""
    names = ["/conv1/Relu_output_0", "/conv2/Relu_output_0", "/conv3/Relu_output_0", "/fc1/Relu"]
    layers = [layer_info(name, i, names[max(0, i - 1) : i]) for i, name in enumerate(names)]
    results = []
    for kind, means in PAPER_MEANS.items():
        growths = [means[0] / 0.64] + [b / a for a, b in pairwise(means)]
        shares = [1.0, 0.62, 0.0, 0.0]
        scores = [layer_score(*row) for row in zip(names, means, growths, shares, strict=True)]
        results.append(perturbation(kind, scores, eta=0.5))
    reason = "constant: does not depend on the input"
    return assemble(
        layers, results, [NotScored("/Constant_output_0", "Constant_3", "Constant", reason)], []
    )


def large_report(count: int = 60, seed: int = 7) -> Report:
    """``count`` layers under six perturbations; some layers have no score, one dips and rises."""
    rng = random.Random(seed)  # noqa: S311 - figures for a test
    names = [f"/features/stage{i // 12}/block.{i % 12}/Relu_output_0" for i in range(count)]
    layers = [layer_info(name, i, names[max(0, i - 1) : i]) for i, name in enumerate(names)]
    shape = [0.45 + 0.4 * math.exp(-((i - count * 0.3) ** 2) / (count * 0.9)) for i in range(count)]
    results = []
    for kind, strength in DEEP_STRENGTHS.items():
        means = [strength * part * rng.uniform(0.93, 1.07) for part in shape]
        growths = [None, *(b / a for a, b in pairwise(means))]
        scores = [
            layer_score(name, mean, growth, min(1.0, max(0.0, 4 * (mean / strength - 0.6))))
            for name, mean, growth in zip(names, means, growths, strict=True)
        ]
        _spoil(scores)
        results.append(perturbation(kind, scores))
    return assemble(layers, results, _many_not_scored(), _warnings())


def _spoil(scores: list[LayerScore]) -> None:
    """Give the last layers every status other than ok."""
    reasons: list[tuple[Status, str]] = [
        ("undefined", "the clean norm is below 1e-12 for all 256 samples"),
        ("not finite", "all 256 samples hold a NaN or an infinity"),
        ("constant", "equal for every sample: it does not depend on the input"),
    ]
    for offset, (status, reason) in enumerate(reasons):
        place = len(scores) - 2 - 2 * offset
        if place > 0:
            scores[place] = failed_score(scores[place].tensor, status, reason)


def _many_not_scored() -> list[NotScored]:
    found = [NotScored(f"/Shape_{i}", f"Shape_{i}", "Shape", "integers: no norm") for i in range(9)]
    found += [NotScored(f"w{i}", f"Id_{i}", "Identity", "constant: a weight") for i in range(4)]
    return [*found, NotScored("/If_0_then", "If_0", "If", "inside a subgraph: not observable")]


def _warnings() -> list[ReportWarning]:
    return [
        ReportWarning("eps-large", "eps 0.3 is more than 25 % of the input range 0..1."),
        ReportWarning("few-samples", "256 of 10000 samples were used; intervals are wide."),
    ]


def hostile_report() -> Report:
    """Every text that a model or a path can bring holds markup or control characters."""
    names = HOSTILE_NAMES
    layers = [
        layer_info(name, i, names[max(0, i - 1) : i], op=name) for i, name in enumerate(names)
    ]
    means = [0.9 - 0.08 * i for i in range(len(names))]
    scores = [layer_score(name, mean, 1.0, 0.5) for name, mean in zip(names, means, strict=True)]
    scores[3] = failed_score(names[3], "undefined", names[0])
    result = perturbation(names[1], scores)
    attack = attack_outcome(scores, Accuracy(0.5, SAMPLES, (0.4, 0.6)))
    assert attack.baseline is not None
    noise = dataclasses.replace(attack.baseline, name=names[3])
    attack = dataclasses.replace(attack, objective=names[0], baseline=noise)
    result = dataclasses.replace(result, parameters={names[0]: names[1]}, attack=attack)
    report = assemble(
        layers,
        [result],
        [NotScored(name, name, name, name) for name in names],
        [ReportWarning(names[0], names[3])],
    )
    return dataclasses.replace(
        report,
        model=dataclasses.replace(model_section(names[0]), producer=names[1], logits=names[2]),
        data=dataclasses.replace(report.data, source=names[3], classes=names, notes=names),
        run=dataclasses.replace(report.run, command=["lsa-onnx", *names], device_note=names[4]),
        verdict=Verdict("layers found", names[0], names),
        created=names[0],
    )


def synthetic_report() -> Report:
    """The small report as a scan without ``--data`` gives it: no labels, no accuracy."""
    report = small_report()
    results = [dataclasses.replace(result, accuracy=None) for result in report.perturbations]
    data = DataSection("synthetic", True, "00" * 32, SAMPLES, SAMPLES, False, None, [])
    warning = ReportWarning("synthetic-data", "No --data was given: the inputs are random numbers.")
    return dataclasses.replace(
        report, data=data, accuracy=None, perturbations=results, warnings=[warning]
    )


def empty_report() -> Report:
    """A scan that found nothing to score."""
    return assemble([], [], _many_not_scored(), [])


def extended_report() -> Report:
    """The small report of a shard that was interrupted, with gates and with inputs as pictures."""
    report = small_report()
    missing = "gaussian"
    return dataclasses.replace(
        report,
        perturbations=[each for each in report.perturbations if each.name != missing],
        warnings=[ReportWarning("partial", "The scan was interrupted: gaussian was not begun.")],
        examples=[example("pgd", 17, 3), example("pgd", 4, 7), example("fgsm", 17, 3)],
        gates=[
            GateOutcome("mvl>3", "layers in the MVL list", 1.0, "passed", None),
            GateOutcome("accuracy@pgd<0.4", "accuracy under pgd", 0.03, "failed", None),
            GateOutcome("cm:0>0.9", "mean CM of layer 0", 0.94, "known", "0.95 in the baseline"),
        ],
        partial=Partial("interrupted", "fgsm", 128, SAMPLES, [missing]),
        shard=Shard(1, 2, 0, SAMPLES, 2 * SAMPLES, FileDigest("part.records.npz", "ab" * 32, 4096)),
    )


def all_reports() -> dict[str, Report]:
    """Every example by name, for ``parametrize``."""
    return {
        "small": small_report(),
        "large": large_report(),
        "hostile": hostile_report(),
        "synthetic": synthetic_report(),
        "empty": empty_report(),
        "extended": extended_report(),
    }
