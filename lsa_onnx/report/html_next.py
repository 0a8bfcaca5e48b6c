"""What to do after a scan, derived from its report: in plain words, with commands that can be run as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.report import text, view
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import AttackOutcome, InputSection, Report

# Options of a scan that say what the model's inputs are: harden and evaluate take the same.
SHARED = (
    *("--data", "--labels", "--x-key", "--y-key", "--split", "--resize", "--range", "--mean"),
    *("--std", "--layout", "--perturb", "--perturb-at", "--hold", "--decision", "--custom-ops"),
)
# harden takes all of them but this one.
EVALUATED_ONLY = "--custom-ops"
# Flags of a scan that stand without a value.
SWITCHES = (
    *("--resize", "--straight-through", "--no-check", "--pictures", "--no-pictures"),
    *("-q", "--quiet", "-v", "--verbose"),
)
_REPORT = "report.json"
_HARDENED = "hardened.onnx"
_MOST_LISTED = 3
_ENOUGH = 256


@dataclass(frozen=True)
class Step:
    """One thing to do: in a few words, why, and the command where there is one."""

    title: str
    why: str
    command: str | None = None


def steps(report: Report) -> list[Step]:
    """What to do, the most urgent first: figures that mean nothing come before what to do with them."""
    found = [*_incomplete(report), *_doubtful(report)]
    codes = {warning.code for warning in report.warnings}
    if report.data.synthetic or "accuracy-near-chance" in codes:
        return found
    return [*found, *_improve(report)]


def _incomplete(report: Report) -> Iterator[Step]:
    if report.partial is not None:
        yield Step(
            "Run the scan to its end",
            "It was interrupted, so some figures are missing or are of fewer samples.",
            text.command_line(report.run.command) or None,
        )
    if report.shard is not None:
        others = text.count(report.shard.count - 1, "other part")
        command = ["lsa-onnx", "merge", _stored(report) or "PART.json", "OTHERS", "--json", _REPORT]
        yield Step(
            "Merge the shards",
            f"This is one part of a scan; together with the {others} it is the report that a single run "
            "would have made.",
            text.command_line(command),
        )


def _doubtful(report: Report) -> Iterator[Step]:
    codes = {warning.code for warning in report.warnings}
    if report.data.synthetic:
        yield Step(
            "Scan with real data",
            "The inputs were random numbers, so these figures rank layers at best.",
            _scan(report, "--data", "DATA"),
        )
    if "accuracy-near-chance" in codes:
        yield Step(
            "Check how the inputs are prepared",
            "The model hardly does better than chance: range, normalisation, layout or labels are wrong.",
            text.command_line(["lsa-onnx", "doctor", report.model.file.path]),
        )
    if "few-samples" in codes and report.data.available > report.data.samples:
        yield Step(
            "Use more samples",
            f"Only {report.data.samples:,} of {report.data.available:,} were used; the order of the "
            "layers depends on chance.",
            _scan(report, "--samples", str(_more_samples(report))),
        )
    if "noise-only" in codes:
        yield Step(
            "Attack the model",
            "Noise ranks layers, but an adversary finds far worse inputs of the same size.",
            _scan(report, "--attack", "pgd"),
        )


def _more_samples(report: Report) -> int:
    return min(max(_ENOUGH, 4 * report.data.samples), report.data.available)


def _improve(report: Report) -> Iterator[Step]:
    if report.verdict.status == "no layer stands out":
        yield Step(
            "Name the largest anyway",
            "All layers move alike. A list of the three that move most shows where to begin.",
            _scan(report, "--top-k", "3"),
        )
    if report.mvl.layers:
        yield Step("Harden the model", _why_harden(report), _harden(report))
    attack = _strongest(report)
    # Without classes there is nothing that an evaluation could count.
    if attack is not None and any(result.flips is not None for result in report.perturbations):
        yield Step(
            "Measure how robust it is",
            "A scan says where a model breaks. How often it breaks, by the strength of the attack, is "
            "what an evaluation counts; name the hardened file beside the model to compare both.",
            _evaluate(report, attack),
        )


def _why_harden(report: Report) -> str:
    count = len(report.mvl.layers)
    named = ", ".join(visible(tensor) for tensor in report.mvl.layers[:_MOST_LISTED])
    more = f" and {count - _MOST_LISTED} more" if count > _MOST_LISTED else ""
    return (
        f"Adversarial training that holds back the listed layers ({named}{more}). "
        "The new file appears only if it is more robust on samples that training never saw."
    )


def _strongest(report: Report) -> AttackOutcome | None:
    """The attack of the headline, or the first that was run."""
    headline = view.headline_result(report)
    if headline is not None and headline.attack is not None:
        return headline.attack
    return next((attack for _, attack in view.attacks(report)), None)


def _scan(report: Report, option: str, value: str) -> str | None:
    """The command of the scan with one option set anew; ``None`` for a scan without a command."""
    if not report.run.command:
        return None
    kept = [word for found in _options(report.run.command) if found[0] != option for word in found]
    model = report.model.file.path
    return text.command_line(["lsa-onnx", "scan", model, *kept, option, value])


def _harden(report: Report) -> str:
    given = [each for each in _inputs(report) if each[0] != EVALUATED_ONLY]
    # Training must not see what the model is judged by.
    words = [
        word
        for each in given
        for word in (["--split", "train"] if each == ["--split", "test"] else each)
    ]
    attack, stored = _strongest(report), _stored(report) or _REPORT
    more = ["--eps", text.strength(attack.eps, report.input.range)] if attack else []
    more += ["--norm", attack.norm] if attack and attack.norm != "linf" else []
    model = report.model.file.path
    command = ["lsa-onnx", "harden", model, "--report", stored, *words, *more, "-o", _HARDENED]
    return text.command_line(command)


def _evaluate(report: Report, attack: AttackOutcome) -> str:
    shares = (attack.eps * part for part in (0, 0.25, 0.5, 1))
    strengths = ",".join(text.strength(eps, report.input.range) for eps in shares)
    given = [word for each in _inputs(report) for word in each]
    more = ["--norm", attack.norm] if attack.norm != "linf" else []
    model = report.model.file.path
    name = "pgd" if attack.norm == "l1" else "auto"
    options = ["--attack", name, "--eps-list", strengths, *more, "--html", "evaluation.html"]
    return text.command_line(["lsa-onnx", "evaluate", model, *given, *options])


def _stored(report: Report) -> str | None:
    """Where the command wrote the report as JSON; ``None`` where it did not."""
    named = [found[-1] for found in _options(report.run.command) if found[0] == "--json"]
    return named[-1] if named and named[-1] != "-" else None


def _inputs(report: Report) -> list[list[str]]:
    """The options of the scan that other commands need too, each with its value."""
    if report.run.command:
        return [found for found in _options(report.run.command) if found[0] in SHARED]
    data = [] if report.data.synthetic else [["--data", report.data.source]]
    return data + _prepared(report.input)


def _prepared(section: InputSection) -> list[list[str]]:
    """How the inputs were prepared, as options, for a scan that was called from a program."""
    found = []
    if section.range != (0.0, 1.0):
        found.append(["--range", ",".join(map(text.brief, section.range))])
    for option, values in (("--mean", section.mean), ("--std", section.std)):
        if values is not None:
            found.append([option, ",".join(map(text.brief, values))])
    return found


def _options(command: Sequence[str]) -> list[list[str]]:
    """The options of a scan's command, each as it was given: a switch, or a name and a value."""
    words = iter(command[2:])
    found = []
    for word in words:
        name, sign, value = word.partition("=")
        if name.startswith("--") and sign:
            found.append([name, value])
        elif word in SWITCHES or (word[:1] == "-" and set(word[1:]) <= set("qv")):
            found.append([word])
        elif word.startswith("-"):
            found.append([word, next(words, "")])
    return found
