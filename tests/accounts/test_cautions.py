"""Each caution is raised when it should be, not otherwise, and is explained in docs/warnings.md."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lsa_onnx.accounts import cautions as module
from lsa_onnx.accounts.attack_checks import Attempt
from lsa_onnx.accounts.cautions import FEW_SAMPLES, Evidence, cautions, one_class_doubts
from lsa_onnx.report.document import (
    Accuracy,
    Executions,
    LayerScore,
    ObserverCheck,
    Partial,
    ReportWarning,
)
from tests import graphs
from tests.report.parts import data_section, layer_info, layer_score, mvl_list, perturbation
from tests.scanning.helpers import codes_in, codes_of, saved, scanned, stored

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "warnings.md"

Change = Callable[[Evidence], Evidence]


def scores() -> list[LayerScore]:
    return [layer_score("a", 0.2, 1.0, 0.0), layer_score("b", 0.8, 4.0, 1.0)]


def sound() -> Evidence:
    """A scan that leaves nothing to be said."""
    return Evidence(
        data=dataclasses.replace(data_section(), samples=FEW_SAMPLES),
        accuracy=Accuracy(0.5, 30, (0.33, 0.67)),
        classes=10,
        layers=[layer_info("a", 0, []), layer_info("b", 1, ["a"])],
        results=[perturbation("pgd", scores()), perturbation("salt", scores())],
        mvl=mvl_list("pgd", scores(), eta=0.5),
        observer=ObserverCheck(30, 1e-4, 1e-3, 0),
        batch_note=None,
    )


def with_data(**changes: object) -> Change:
    return lambda e: dataclasses.replace(e, data=dataclasses.replace(e.data, **changes))  # type: ignore[arg-type]


def with_(**changes: object) -> Change:
    return lambda e: dataclasses.replace(e, **changes)  # type: ignore[arg-type]


def with_score(**changes: object) -> Change:
    changed = [dataclasses.replace(score, **changes) for score in scores()]  # type: ignore[arg-type]
    return with_(results=[perturbation("pgd", [changed[0], scores()[1]])])


# What is changed of a sound scan, the caution that follows, and what its message must say.
RAISED: list[tuple[Change, str, str]] = [
    (with_data(synthetic=True), "synthetic-data", "give --data"),
    (with_data(samples=29), "few-samples", "Only 29 samples:"),
    (with_data(samples=1), "few-samples", "Only 1 sample:"),
    (
        with_(accuracy=Accuracy(0.15, 20, (0.1, 0.3))),
        "accuracy-near-chance",
        "accuracy 15.0% is not above chance (10.0%)",
    ),
    (with_(repeatable=False), "random-outputs", "it draws random numbers"),
    (with_(results=[perturbation("salt", scores())]), "noise-only", "Only random noise"),
    (
        with_(observer=ObserverCheck(30, 1.0, 2e-3, 0)),
        "observer-difference",
        "by up to 0.002 (relative), on 30 samples",
    ),
    (
        with_(observer=ObserverCheck(30, 0.0, 0.0, 2)),
        "observer-difference",
        "flips 2 labels, on 30 samples",
    ),
    (with_score(nonfinite_samples=1), "not-finite", "'a' gave NaN or infinity"),
    (with_score(undefined_samples=1), "near-zero-norm", "'a' had a clean norm near zero"),
    (
        with_score(executions=Executions("if_0/then_branch", 0, 1, 0.5, 16, 2, [0.1])),
        "control-flow-changed",
        "how often 'if_0/then_branch' ran",
    ),
    (
        with_score(relative_error=layer_score("a", 2e-6, 1.0, 0.0).relative_error),
        "numerical-floor",
        "'a' moved by less than 10 times the rounding",
    ),
    (with_(mvl=mvl_list("pgd", scores(), eta=5.0)), "empty-mvl", "exceeds μ + 5 σ; lower --eta"),
    (with_(mvl=mvl_list("pgd", [])), "empty-mvl", "no layer has a relative error"),
    (with_(batch_note="'y' mixes samples"), "native-batch", "'y' mixes samples"),
    (
        with_(partial=Partial("interrupted", "pgd", 1024, 4096, ["auto"])),
        "partial",
        "pgd saw 1,024 of 4,096 samples; not done: auto.",
    ),
    (
        with_(partial=Partial("interrupted", None, 0, 4096, ["pgd", "auto"])),
        "partial",
        "was interrupted: not done: pgd, auto.",
    ),
]


# Whatever may raise one: the scan, the evaluation, landscapes of both kinds, the boundary.
SOURCES = [p for top in ("lsa_onnx", "trainer") for p in sorted((ROOT / top).rglob("*.py"))]
ALL_CODES = codes_of(path.read_text("utf-8") for path in SOURCES)


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_a_sound_scan_raises_nothing() -> None:
    assert cautions(sound()) == []


@pytest.mark.parametrize(("change", "code", "said"), RAISED, ids=[f"{c}-{s}" for _, c, s in RAISED])
def test_a_flaw_raises_its_caution_alone(change: Change, code: str, said: str) -> None:
    (found,) = cautions(change(sound()))
    assert found.code == code
    assert said in found.message
    assert "\n" not in found.message


@pytest.mark.parametrize(
    "change",
    [
        with_data(samples=10, synthetic=True),
        with_(accuracy=None, classes=None),
        with_(accuracy=Accuracy(0.01, 30, (0.0, 0.02)), classes=None),
        with_score(relative_error=layer_score("a", 2.2e-6, 1.0, 0.0).relative_error),
        with_score(relative_error=layer_score("a", 0.0, 1.0, 0.0).relative_error),
        with_score(executions=Executions("loop/body", 3, 3, 3.0, 0, 0, [0.1, 0.2, 0.3])),
        with_(layers=[], results=[], mvl=mvl_list("pgd", [])),
    ],
)
def test_what_is_no_flaw_raises_nothing_of_its_own(change: Change) -> None:
    assert {found.code for found in cautions(change(sound()))} <= {"synthetic-data"}


def test_many_tensors_are_counted_not_listed() -> None:
    many = [
        dataclasses.replace(layer_score(f"t{i}", 0.5, 1, 0), undefined_samples=1) for i in "abcde"
    ]
    layers = [layer_info(f"t{name}", 0, []) for name in "abcde"]
    evidence = dataclasses.replace(sound(), layers=layers, results=[perturbation("pgd", many)])
    (found,) = cautions(evidence)
    assert found.message.startswith("'ta', 'tb', 'tc' and 2 more had")


def test_doubts_and_what_attempts_show_come_along() -> None:
    doubt = ReportWarning("large-eps", "pgd may change a value by 0.3")
    flat = Attempt("pgd", "pgd", "linf", 0.1, True, 30, 0, 30, flat=0.5)
    found = cautions(dataclasses.replace(sound(), doubts=[doubt], attempts=[flat]))
    assert [warning.code for warning in found] == ["large-eps", "zero-gradient"]


def test_one_class_for_all_samples_is_doubted_of_a_logit_alone() -> None:
    ones = np.ones(7, np.int64)
    (doubt,) = one_class_doubts("p", ones)
    assert doubt.code == "one-class-only"
    assert (
        "All 7 clean samples are read as class 1, with scores above 0: if 'p' is" in doubt.message
    )
    assert one_class_doubts("p", np.array([1, 0, 1])) == []
    assert one_class_doubts(None, ones) == one_class_doubts("p", None) == []


def test_every_code_of_this_module_is_tested() -> None:
    assert codes_in(module) == {code for _, code, _ in RAISED} | {"one-class-only"}


def test_what_is_raised_is_explained_and_what_is_explained_is_raised() -> None:
    assert set(sections()) == ALL_CODES


@pytest.mark.parametrize("code", sorted(ALL_CODES))
def test_a_section_says_when_why_and_what_to_do(code: str) -> None:
    text = sections()[code]
    for part in ("**Raised if**", "**Why it matters**", "**What to do**"):
        assert text.count(part) == 1


def test_a_scan_of_few_synthetic_inputs_says_so(tmp_path: Path) -> None:
    report = scanned(saved(tmp_path, graphs.conv_net()), samples=4, perturbations=("salt",))
    assert [warning.code for warning in report.warnings][:2] == ["synthetic-data", "noise-only"]


def test_an_attack_is_not_noise_only(tmp_path: Path) -> None:
    report = scanned(saved(tmp_path, graphs.conv_net()), samples=4, steps=2)
    codes = [warning.code for warning in report.warnings]
    assert codes[:2] == ["synthetic-data", "predicted-labels"]
    assert "noise-only" not in codes


def test_labels_that_have_nothing_to_do_with_the_model_are_noticed(tmp_path: Path) -> None:
    proto = graphs.typed_net("float32")
    x = graphs.samples(0, 60, 5)
    wrong = (graphs.run(proto, {"x": x})["y"].argmax(axis=1) + 1) % 3
    report = scanned(saved(tmp_path, proto), stored(tmp_path, x=x, y=wrong.astype("int64")))
    assert "accuracy-near-chance" in [warning.code for warning in report.warnings]
    assert "few-samples" not in [warning.code for warning in report.warnings]
