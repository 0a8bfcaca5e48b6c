"""The terminal view of an evaluation: whole output, every width, and no name has an effect."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.terminal_evaluation import print_evaluation
from tests.report.evaluations import (
    all_evaluations,
    at_eps,
    curve,
    evaluation,
    hopeless,
    hostile,
    sweep,
    unlabelled,
)
from tests.report.examples import HOSTILE_NAMES


def shown(found: Evaluation, width: int = 100) -> list[str]:
    file = io.StringIO()
    print_evaluation(found, Console(file=file, width=width))
    return [line.rstrip() for line in file.getvalue().split("\n")]


def test_a_sweep() -> None:
    assert shown(sweep()) == [
        "Clean accuracy 99.0 % (95 % interval 96.4–99.7 %, n = 200)",
        "",
        "Robust accuracy (eps in units of the range 0 to 1)",
        "eps                                     pgd               square",
        "─" * 64,
        "linf 8/255 = 0.0313725 32.5 % (26.4–39.3 %) 60.0 % (53.1–66.5 %)",
        "linf 0.3                  1.5 % (0.5–4.3 %)  10.0 % (6.6–14.9 %)",
        "",
        "Attack eps   Settings                                         Right              Success   n Seconds",
        "─" * 100,
        "pgd    0.3   white box, steps 20, restarts 1, objective     198 → 3 98.5 % (95.6–99.5 %) 200     1.3",
        "             margin",
        "pgd    8/255 white box, steps 20, restarts 1, objective    198 → 65 67.2 % (60.4–73.3 %) 200     1.3",
        "             margin",
        "square 0.3   black box, steps 20, restarts 1, objective    198 → 20 89.9 % (84.9–93.4 %) 200     1.3",
        "             margin",
        "square 8/255 black box, steps 20, restarts 1, objective   198 → 120 39.4 % (32.9–46.3 %) 200     1.3",
        "             margin",
        "robust accuracy = share of all samples that stay right · success = share of the initially right",
        "samples that the attack broke · in brackets 95 % Wilson intervals",
        "",
        "Warning large-eps: eps 0.3 is above 25 % of the range 0 to 1.",
        "",
        "Model mnist-b.onnx · 12 nodes · 431,080 parameters · opset 17 · SHA-256 3f9ab0c13f9a…",
        "Data  my images/x.npz · 256 of 10,000 samples · labels",
        "Input input · range 0 to 1 · mean 0.1307 · std 0.3081 · NCHW · from flags · uint8 pixels were scaled",
        "      to the declared range 0..1",
        "Run   cpu · ONNX Runtime 1.31.1 · batch 64 (free) · seed 0 · 4.2 s · 1 restart",
        "",
        "",
    ]


def test_from_no_attack_to_a_strong_one() -> None:
    lines = shown(curve())
    assert lines[2:15] == [
        "Robust accuracy (eps in units of the range 0 to 1)",
        "eps                                     pgd               square",
        "─" * 64,
        "linf 0                 99.0 % (96.4–99.7 %) 99.0 % (96.4–99.7 %)",
        "linf 8/255 = 0.0313725 32.5 % (26.4–39.3 %) 60.0 % (53.1–66.5 %)",
        "linf 0.3                  1.5 % (0.5–4.3 %)  10.0 % (6.6–14.9 %)",
        "R&G                     133.0 (123.5–142.5)  169.0 (159.5–178.5)",
        "",
        "Smallest eps that breaks a sample",
        "pgd    median 8/255 · wrong without attack: 2 · at 8/255: 133 · at 0.3: 62 · never: 3",
        "square median 0.3 · wrong without attack: 2 · at 8/255: 78 · at 0.3: 100 · never: 20",
        "",
        "Attack eps   Settings                                         Right              Success   n Seconds",
    ]
    assert any(
        line.startswith("R&G, robustness and generalisation = sum over eps") for line in lines
    )
    assert not any("R&G" in line for line in shown(sweep()))


@pytest.mark.parametrize("name", all_evaluations())
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_console_nor_holds_a_control(name: str, width: int) -> None:
    for line in shown(all_evaluations()[name], width):
        assert cell_len(line) <= width
        assert not re.search(r"[\x00-\x1f\x7f\u200b\u202e]", line)


def test_attacks_that_do_not_fit_beside_each_other_get_tables_of_their_own() -> None:
    names = [f"attack-{i}" for i in range(5)]
    lines = shown(evaluation([at_eps(name, "0.3", 0.3, 65) for name in names]), 80)
    heads = [line.split() for line in lines if line.startswith("eps")]
    assert heads == [["eps", *names[:3]], ["eps", *names[3:]]]


def test_a_strength_that_was_not_run_is_a_gap() -> None:
    lines = shown(evaluation([at_eps("pgd", "0.1", 0.1, 65), at_eps("fgsm", "0.2", 0.2, 20)]))
    assert "linf 0.1 32.5 % (26.4–39.3 %)                   —" in lines
    assert "linf 0.2                    — 10.0 % (6.6–14.9 %)" in lines


def test_a_model_that_was_never_right_has_no_success() -> None:
    lines = shown(hopeless())
    assert lines[0] == "Clean accuracy 0.0 % (95 % interval 0.0–1.9 %, n = 200)"
    assert "fgsm   0.1 white box 0 → 0       — 200     0.0" in lines


def test_predicted_labels_are_told_at_once() -> None:
    assert shown(unlabelled(), 200)[1].startswith("No labels were given: the model's own clean")
    assert not any("No labels were given" in line for line in shown(sweep(), 200))


def test_nothing_run_still_tells_what_was_measured() -> None:
    lines = shown(evaluation([]))
    assert lines[0].startswith("Clean accuracy 99.0 %")
    assert not any("Robust accuracy" in line for line in lines)
    assert any(line.startswith("Model mnist-b.onnx") for line in lines)


def test_more_restarts_are_told() -> None:
    found = sweep()
    found = dataclasses.replace(found, run=dataclasses.replace(found.run, restarts=5))
    assert any(line.endswith("· 5 restarts") for line in shown(found))


def test_markup_in_names_is_text() -> None:
    text = " ".join(shown(hostile(), 300))
    assert HOSTILE_NAMES[2][:10] in text
    assert r"esc\x1b[31mape\r\n\x07\x00bell" in text


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    for found in all_evaluations().values():
        print_evaluation(found, Console(file=file, width=100))
    file.flush()
    assert "198 -> 65" in raw.getvalue().decode("ascii")
