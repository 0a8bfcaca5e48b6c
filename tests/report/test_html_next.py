"""What the page tells to do: derived from the report, and every command one that the tool takes."""

from __future__ import annotations

import dataclasses
import shlex

import click
import pytest

from lsa_cli.commands import evaluate, harden, scan
from lsa_onnx.report.document import Report, ReportWarning
from lsa_onnx.report.html_next import EVALUATED_ONLY, SHARED, SWITCHES, Step, steps
from tests.report.examples import (
    all_reports,
    extended_report,
    hostile_report,
    small_report,
    synthetic_report,
)

COMMANDS = {"harden": harden.command, "evaluate": evaluate.command, "scan": scan.command}


def with_command(*words: str) -> Report:
    report = small_report()
    run = dataclasses.replace(report.run, command=["lsa-onnx", "scan", *words])
    return dataclasses.replace(report, run=run)


def commands(report: Report) -> dict[str, str]:
    """The commands by what they are, the last of each."""
    told = [step.command for step in steps(report) if step.command]
    return {command.split()[1]: command for command in told}


def options(command: click.Command) -> dict[str, bool]:
    """The names of a command's options, and whether each stands without a value."""
    return {
        name: option.is_flag or option.count
        for option in command.params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }


def test_harden_and_evaluate_take_the_inputs_of_the_scan() -> None:
    report = with_command(
        "--data", "a b.npz", "m.onnx", "--split=test", "--samples", "64", "--resize", "--range",
        "0,255", "--layers", "all", "--seed", "3", "--json", "out/scan.json", "-q",
    )  # fmt: skip
    report = dataclasses.replace(report, input=dataclasses.replace(report.input, range=(0, 255)))
    assert commands(report) == {
        "harden": "lsa-onnx harden mnist-b.onnx --report out/scan.json --data 'a b.npz' "
        "--split train --resize --range 0,255 --eps 0.3 -o hardened.onnx",
        "evaluate": "lsa-onnx evaluate mnist-b.onnx --data 'a b.npz' --split test --resize "
        "--range 0,255 --attack auto --eps-list 0,0.075,0.15,0.3 --html evaluation.html",
    }


def test_eps_is_told_as_people_give_it() -> None:
    report = with_command("m.onnx")
    first = report.perturbations[0]
    assert first.attack is not None
    attack = dataclasses.replace(first.attack, eps=8 / 255, norm="l2")
    results = [dataclasses.replace(first, attack=attack), *report.perturbations[1:]]
    found = commands(dataclasses.replace(report, perturbations=results))
    assert "--eps 8/255 --norm l2 -o" in found["harden"]
    assert "--eps-list 0,2/255,4/255,8/255 --norm l2 --html" in found["evaluate"]


def test_an_evaluation_needs_classes_and_an_attack_of_its_norm() -> None:
    report = small_report()
    first = dataclasses.replace(report.perturbations[0], flips=None)
    assert "evaluate" not in commands(dataclasses.replace(report, perturbations=[first]))
    assert first.attack is not None
    attack = dataclasses.replace(first.attack, norm="l1")
    other = dataclasses.replace(report.perturbations[0], attack=attack)
    found = commands(dataclasses.replace(report, perturbations=[other]))["evaluate"]
    assert "--attack pgd --eps-list 0,0.075,0.15,0.3 --norm l1" in found


def test_a_scan_called_from_a_program_has_commands_too() -> None:
    report = dataclasses.replace(
        small_report(), run=dataclasses.replace(small_report().run, command=[])
    )
    assert commands(report)["harden"].startswith(
        "lsa-onnx harden mnist-b.onnx --report report.json --data 'my images/x.npz' --mean 0.1307 "
        "--std 0.3081 --eps 0.3"
    )


def test_figures_that_mean_nothing_come_before_what_to_do_with_them() -> None:
    (only,) = steps(synthetic_report())
    assert only.title == "Scan with real data"
    assert only.command is not None
    assert only.command.endswith("--data DATA")
    assert "my images" not in only.command
    chance = [ReportWarning("accuracy-near-chance", "")]
    (checked,) = steps(dataclasses.replace(small_report(), warnings=chance))
    assert checked.command == "lsa-onnx doctor mnist-b.onnx"


def test_a_part_of_a_scan_is_made_whole_first() -> None:
    titles = [step.title for step in steps(extended_report())]
    assert titles == [
        "Run the scan to its end",
        "Merge the shards",
        "Harden the model",
        "Measure how robust it is",
    ]
    assert [step.command for step in steps(extended_report())[:2]] == [
        "lsa-onnx scan mnist-b.onnx --data 'my images/x.npz' --eps 0.3",
        "lsa-onnx merge PART.json OTHERS --json report.json",
    ]


@pytest.mark.parametrize(
    ("code", "title", "ending"),
    [
        ("noise-only", "Attack the model", "--eps 0.3 --attack pgd"),
        ("few-samples", "Use more samples", "--eps 0.3 --samples 1024"),
    ],
)
def test_warnings_ask_for_a_scan_with_other_options(code: str, title: str, ending: str) -> None:
    report = dataclasses.replace(small_report(), warnings=[ReportWarning(code, "")])
    first = steps(report)[0]
    assert (first.title, str(first.command).endswith(ending)) == (title, True)


def test_layers_that_move_alike_are_named_by_rank() -> None:
    report = small_report()
    verdict = dataclasses.replace(report.verdict, status="no layer stands out")
    mvl = dataclasses.replace(report.mvl, layers=[])
    found = steps(dataclasses.replace(report, verdict=verdict, mvl=mvl))
    assert [step.title for step in found] == ["Name the largest anyway", "Measure how robust it is"]


@pytest.mark.parametrize("name", all_reports())
def test_every_option_told_is_one_of_its_command(name: str) -> None:
    if name == "hostile":
        return
    for step in steps(all_reports()[name]):
        words = shlex.split(step.command or "lsa-onnx scan")
        known = {
            "doctor": {},
            "merge": {"--json": False},
            **{key: options(c) for key, c in COMMANDS.items()},
        }[words[1]]
        assert {word for word in words if word.startswith("-")} <= set(known), words


def test_options_shared_by_commands_are() -> None:
    assert set(SHARED) <= set(options(scan.command)) & set(options(evaluate.command))
    assert set(SHARED) - {EVALUATED_ONLY} <= set(options(harden.command))
    assert EVALUATED_ONLY not in options(harden.command)
    flags = {name for name, is_flag in options(scan.command).items() if is_flag}
    assert flags - {"--help", "-h"} == set(SWITCHES)


def test_hostile_names_are_one_word_each_for_a_shell() -> None:
    found: list[Step] = steps(hostile_report())
    told = [step.command for step in found if step.command]
    assert told
    for command in told:
        assert command.isprintable()
        assert shlex.split(command)[2] == "<img src=x onerror=alert(1)>"
