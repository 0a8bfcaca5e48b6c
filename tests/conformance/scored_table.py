"""Writes ``docs/conformance.md``: which tensors of ONNX's conformance suite a scan scores, in numbers.

Run as ``python -m tests.conformance.scored_table`` to write it anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import onnxruntime as ort

from lsa_trainer.ops.table import operators
from lsa_trainer.translation.dialect import CONTROL_FLOW
from tests.conformance.cases import (
    FOLDERS,
    HEAVY,
    LIGHT,
    Case,
    folder_cases,
    light_cases,
    node_cases,
)
from tests.conformance.scored_examine import examine
from tests.conformance.scored_outcomes import DEFECTS, Account, Fate

PATH = Path(__file__).parents[2] / "docs" / "conformance.md"
VERSIONS = f"onnx {onnx.__version__}, onnxruntime {ort.__version__}"
_KINDS = (*FOLDERS, "light")
_OTHERS = "others"

_INTRODUCTION = f"""\
# Conformance

What `lsa-onnx scan --layers all` makes of ONNX's own conformance suite: every case of a single operator (also in the
form in which ONNX writes the operator out), the small models, and all networks of its model zoo, with random weights.
For each case that ONNX Runtime (CPU) runs:

- every tensor that a node makes, in the bodies of control flow too, must be scored or listed with a reason, once;
- with everything that is scored exposed, the outputs must be those of the model as it is: in every bit without
  optimisation (half precision, to which ONNX Runtime rounds only what is looked at: to the accuracy of that), and
  otherwise but for rounding;
- the twin of clean and perturbed inputs must return the outputs of two runs of the model, likewise, and as scores the
  sums of squares that numpy finds in the exposed tensors of both;
- the scanner's own session, batches and optimisation included, must return the same again.

The perturbed input is the first of floats, with a little noise; the data are the inputs that come with the case and the
same with noise.

Generated with {VERSIONS} by `python -m tests.conformance.scored_table`; a test compares.
"""

_MEANINGS = {
    Fate.SCORED: "some tensors are scored, every other one has a reason, and all of the above holds",
    Fate.EXPLAINED: "no tensor can be scored; each one has a reason",
    Fate.RANDOM: "runs differ: all of the above holds but for the numbers of the outputs",
    Fate.NO_INPUT: "no float input and no embedding; every tensor is exposed or has a reason",
    Fate.NO_ARRAY: "inputs or outputs of types that cannot be handed over; every tensor can be exposed or has a reason",
    Fate.REFUSED: "the scan ends with one line that says why; the reasons are listed",
    Fate.NOT_RUN: "not a model that it can run; the reasons are listed",
    Fate.UNACCOUNTED: "a defect: a tensor is missing, twice there, or without a reason",
    Fate.CHANGED: "a defect: another output, or a score that is not numpy's",
    Fate.ERROR: "a defect: an exception",
}


def all_cases() -> Iterator[Case]:
    """Every case of the table."""
    yield from node_cases()
    yield from folder_cases()
    yield from light_cases((*LIGHT, *HEAVY))


def table(accounts: Sequence[Account]) -> str:
    """The whole document."""
    parts = (
        _totals(accounts),
        _by_family(accounts),
        _tensors(accounts),
        _reasons(accounts),
        _defects(accounts),
    )
    return "\n".join([_INTRODUCTION, *(line for part in parts for line in part)])


def _totals(accounts: Sequence[Account]) -> Iterator[str]:
    yield "## Outcomes\n\n| Outcome | Cases | Tensors exposed | Others | Meaning |\n|---|---:|---:|---:|---|"
    for fate, meaning in _MEANINGS.items():
        found = [account for account in accounts if account.fate is fate]
        yield f"| {fate.value} | {_counts(found)} | {meaning} |"
    yield f"| all | {_counts(accounts)} | |\n"
    looked_at = [account.exact for account in accounts if account.exact is not None]
    yield f"Under optimisation, {sum(looked_at)} of {len(looked_at)} models keep every bit of their outputs.\n"


def _counts(accounts: Sequence[Account]) -> str:
    exposed = sum(account.exposed for account in accounts)
    others = sum(sum(account.not_scored.values()) for account in accounts)
    return f"{len(accounts)} | {exposed} | {others}"


def _by_family(accounts: Iterable[Account]) -> Iterator[str]:
    yield "## By family\n"
    yield "The last rows are ONNX's models of several operators, by kind.\n"
    yield "| Family | Operators | Cases | Tensors exposed | Others | Outcomes |\n|---|---|---:|---:|---:|---|"
    rows: dict[str, list[Account]] = {}
    families = _families()
    for account in accounts:
        rows.setdefault(families.get(account.group, _OTHERS), []).append(account)
    for family in sorted(rows, key=lambda name: (name in _KINDS, name == _OTHERS, name)):
        yield row(family, rows[family])
    yield ""


def row(family: str, accounts: Sequence[Account]) -> str:
    """The line of a family, or of a kind of models."""
    fates = Counter(account.fate for account in accounts)
    texts = "; ".join(f"{fates[fate]} {fate.value}" for fate in _MEANINGS if fates[fate])
    names = "" if family in _KINDS else ", ".join(sorted({each.group for each in accounts}))
    return f"| {family.replace('_', ' ')} | {names} | {_counts(accounts)} | {texts} |"


def _families() -> dict[str, str]:
    """Operator or kind of model → its family."""
    found = {kind: family for family, kinds in operators().items() for kind in kinds}
    return found | dict.fromkeys(CONTROL_FLOW, "control flow") | {kind: kind for kind in _KINDS}


def _tensors(accounts: Iterable[Account]) -> Iterator[str]:
    yield "## Tensors that are not scored\n\n| Reason | Tensors |\n|---|---:|"
    total: Counter[str] = Counter()
    for account in accounts:
        total.update(account.not_scored)
    yield from _sorted_rows(total)


def _reasons(accounts: Sequence[Account]) -> Iterator[str]:
    for fate in (Fate.NO_INPUT, Fate.NO_ARRAY, Fate.REFUSED, Fate.NOT_RUN):
        yield f"## Cases: {fate.value}\n\n| Reason | Cases |\n|---|---:|"
        yield from _sorted_rows(Counter(a.reason for a in accounts if a.fate is fate))


def _sorted_rows(counts: Mapping[str, int]) -> Iterator[str]:
    for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"| {text.replace('|', chr(92) + '|')} | {count} |"
    yield ""


def _defects(accounts: Iterable[Account]) -> Iterator[str]:
    found = [account for account in accounts if account.fate in DEFECTS]
    yield "## Defects\n"
    if not found:
        yield "None.\n"
    for account in found:
        yield f"- {account.name}: {account.fate.value}: {account.reason}"


def main() -> None:
    """Write the document."""
    PATH.write_text(table([examine(case) for case in all_cases()]), encoding="utf-8")


if __name__ == "__main__":
    main()
