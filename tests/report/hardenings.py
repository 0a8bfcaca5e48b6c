"""Example hardenings with realistic figures, and scans that go with them."""

from __future__ import annotations

import dataclasses
from typing import Any

from lsa_onnx.report.document import FileDigest, Report
from lsa_onnx.report.hardening import Comparison, Hardening, Share, Validation
from lsa_onnx.statistics import wilson_interval
from tests.report.examples import HOSTILE_NAMES, hostile_report, large_report, small_report
from tests.report.parts import model_section, mvl_list, perturbation

N = 256
SHA256 = model_section().file.sha256
AFTER_SHA256 = "c0ffee12" * 8
WRITTEN = FileDigest("mnist-b-robust.onnx", AFTER_SHA256, 1_742_400)
REGULARISED = {"/conv1/Relu_output_0": 2.464180139742, "/conv2/Relu_output_0": 0.5}


def accuracy(correct: int, n: int = N) -> Share:
    """``correct`` of ``n`` samples are right."""
    return Share(correct / n, wilson_interval(correct, n), n)


def comparison(robust: tuple[int, int] = (65, 120), **changes: Any) -> Comparison:
    """Robust accuracy before and after in samples; clean accuracy loses one sample."""
    plain = Comparison(
        measure="accuracy",
        labels="given",
        attack="auto",
        eps="10%",
        norm="linf",
        clean_before=accuracy(254),
        clean_after=accuracy(253),
        robust_before=accuracy(robust[0]),
        robust_after=accuracy(robust[1]),
    )
    return dataclasses.replace(plain, **changes)


def hardening(found: Comparison | None = None, **changes: Any) -> Hardening:
    """A hardening with this verdict; the file was written if it is a good one."""
    found = found or comparison()
    objection = found.objection(0.02)
    plain = Hardening(
        tool_version="0.1.0",
        created="2025-03-14T15:09:26Z",
        model="mnist-b.onnx",
        model_sha256=SHA256,
        output=None if objection else "mnist-b-robust.onnx",
        files=[] if objection else [WRITTEN],
        objection=objection,
        max_clean_drop=0.02,
        layers=REGULARISED,
        layers_from="the MVL list of the scan under pgd",
        trainable=431_000,
        weights=431_080,
        best_step=54,
        steps=81,
        comparison=found,
        changes={f"w{i}": 0.01 * i for i in (3, 1, 7, 2, 6, 5)},
        history=[
            Validation(0, 0.9922, 0.6797, 0.3242),
            Validation(27, 0.9883, 0.7656, 0.5313),
            Validation(54, 0.9844, 0.7773, 0.5508),
            Validation(81, 0.9805, 0.7852, 0.5469),
        ],
        notes=[],
        config={"data": "my images/x.npz", "eps": "10%", "lr": 0.001, "flip": False, "hold": []},
        folder="mnist-b-robust.onnx.run",
        command=["lsa-onnx", "harden", "mnist-b.onnx", "--data", "my images/x.npz"],
        seconds=332.91,
    )
    return dataclasses.replace(plain, **changes)


def refused() -> Hardening:
    """Training made nothing better: the original weights were kept and no file was written."""
    return hardening(comparison((65, 65)), best_step=0)


def forced() -> Hardening:
    """Clean accuracy fell too far, and the file was written all the same."""
    found = comparison(clean_after=accuracy(200))
    return hardening(found, output="mnist-b-robust.onnx", files=[WRITTEN])


def unsure() -> Hardening:
    """A gain that may be chance, on predicted labels, without a layer-wise term or validations."""
    return hardening(
        comparison((65, 70), labels="predicted"), layers={}, history=[], changes={},
        layers_from="--gamma 0: no layer-wise term", command=[],
        notes=["stopped early: no gain in robust accuracy for 3 validations"],
    )  # fmt: skip


def fitted() -> Hardening:
    """A model without classes: scores are fits, one of them below 0."""
    found = comparison(
        measure="fit", attack="pgd", clean_before=Share(0.981, None, N),
        clean_after=Share(0.974, None, N), robust_before=Share(-0.25, None, N),
        robust_after=Share(0.614, None, N),
    )  # fmt: skip
    return hardening(found)


def hostile() -> Hardening:
    """Every text that a model, a path or a caller can bring acts on the reader's screen."""
    names = HOSTILE_NAMES
    return hardening(
        comparison(attack=names[0], eps=names[3], norm=names[1]),
        tool_version=names[1], created=names[3], model=names[3], output=names[1],
        layers=dict.fromkeys(names, 1.5), layers_from=names[1],
        changes=dict.fromkeys(names, 0.25), notes=names, folder=names[3],
        config={name: [name, 0.5] for name in names}, command=["lsa-onnx", *names],
    )  # fmt: skip


def all_hardenings() -> dict[str, Hardening]:
    """Every example by name, for ``parametrize``."""
    return {
        "better": hardening(),
        "refused": refused(),
        "forced": forced(),
        "unsure": unsure(),
        "fitted": fitted(),
        "hostile": hostile(),
    }


def hardened(before: Report, factor: float = 0.5) -> Report:
    """A scan of another file in which the layers move less, the first ones least."""
    results = []
    for result in before.perturbations:
        scores = [_scaled(score, factor + i / 100) for i, score in enumerate(result.layers)]
        again = perturbation(result.name, scores)
        results.append(dataclasses.replace(again, parameters=result.parameters))
    model = dataclasses.replace(before.model, file=WRITTEN)
    mvl = results[0].mvl if results else mvl_list("", [])
    return dataclasses.replace(before, model=model, perturbations=results, mvl=mvl)


def _scaled(score: Any, factor: float) -> Any:
    error = score.relative_error
    if error.mean is None:
        return score
    low, high = error.interval
    error = dataclasses.replace(
        error, mean=error.mean * factor, interval=(low * factor, high * factor)
    )
    return dataclasses.replace(score, relative_error=error)


def all_pages() -> dict[str, tuple[Hardening, Report, Report | None]]:
    """Hardenings with their scans, as a page shows them."""
    small, large, bad = small_report(), large_report(), hostile_report()
    deep = {score: 1.0 + i for i, score in enumerate(large.mvl.layers)}
    return {
        "better": (hardening(), small, hardened(small)),
        "large": (hardening(layers=deep), large, hardened(large)),
        "refused": (refused(), small, None),
        "forced": (forced(), small, hardened(small)),
        "unsure": (unsure(), small, None),
        "fitted": (fitted(), small, None),
        "hostile": (hostile(), bad, hardened(bad)),
    }
