"""Writes ``docs/torch.md``: which of ONNX's conformance suite runs in PyTorch, and how well, in numbers.

Run as ``python -m tests.conformance.torch_table`` to write it anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import onnx
import onnxruntime as ort

from lsa_trainer.ops.table import operators
from lsa_trainer.translation.dialect import CONTROL_FLOW
from tests.conformance.agreement import TOLERANCE
from tests.conformance.cases import FOLDERS
from tests.conformance.gradients_table import all_cases
from tests.conformance.parity import Parity, Ran, hold

PATH = Path(__file__).parents[2] / "docs" / "torch.md"
VERSIONS = f"onnx {onnx.__version__}, onnxruntime {ort.__version__}"
_KINDS = (*FOLDERS, "light")
_WRITTEN_OUT = "written out in others"
_LEFT = "left out"

_INTRODUCTION = f"""\
# PyTorch

How far `lsa_trainer` runs ONNX in PyTorch, measured on ONNX's own conformance suite: every case of a single operator
(also in the form in which ONNX writes the operator out), the small models, and networks of its model zoo with random
weights. Each model is loaded as `harden` loads it, run on the inputs that come with it, and held to ONNX Runtime (CPU):
every tensor of the main graph that both can show must have the same type and shape, equal whole numbers, and floats
within {TOLERANCE:g} of the largest value of the tensor (half precision: 0.002, bfloat16: 0.01). Where ONNX Runtime has
no kernel, the outputs are held to those that ONNX expects.

Generated with {VERSIONS} by `python -m tests.conformance.torch_table`; a test compares.
"""

_MEANINGS = {
    Parity.EQUAL: "every tensor equals that of ONNX Runtime",
    Parity.EXPECTED: "ONNX Runtime does not run it; the outputs are those that ONNX expects",
    Parity.RANDOM: "it draws random numbers: types and shapes agree",
    Parity.UNSUPPORTED: "the model is refused when it is loaded; the reason is listed",
    Parity.DIFFERS: "a defect",
    Parity.ERROR: "a defect",
}


def table(ran: Sequence[Ran]) -> str:
    """The whole document."""
    return "\n".join([_INTRODUCTION, *_totals(ran), *_by_family(ran), *_unsupported(ran)])


def _totals(ran: Sequence[Ran]) -> Iterator[str]:
    counts = Counter(each.parity for each in ran)
    yield "## Outcomes\n\n| Outcome | Cases | Meaning |\n|---|---:|---|"
    for parity, meaning in _MEANINGS.items():
        yield f"| {parity.value} | {counts[parity]} | {meaning} |"
    yield f"| all | {len(ran)} | {sum(each.tensors for each in ran)} tensors compared |\n"


def _by_family(ran: Sequence[Ran]) -> Iterator[str]:
    yield "## By family\n"
    yield "The families are the files of `lsa_trainer/ops`. The last rows are ONNX's models of several operators, by"
    yield "kind.\n"
    yield "| Family | Operators | Cases | Equal | Others |\n|---|---|---:|---:|---|"
    table_of = {kind: family for family, kinds in operators().items() for kind in kinds}
    table_of |= dict.fromkeys(CONTROL_FLOW, "control flow") | {kind: kind for kind in _KINDS}
    rows: dict[str, list[Ran]] = {}
    for each in ran:
        other = _LEFT if each.parity is Parity.UNSUPPORTED else _WRITTEN_OUT
        rows.setdefault(table_of.get(each.group, other), []).append(each)
    for family in sorted(
        rows, key=lambda name: (name in _KINDS, name in (_WRITTEN_OUT, _LEFT), name)
    ):
        yield _row(family, rows[family])
    yield ""


def _row(family: str, ran: Sequence[Ran]) -> str:
    equal = sum(each.parity in (Parity.EQUAL, Parity.EXPECTED) for each in ran)
    others = Counter(each.parity for each in ran)
    texts = [f"{others[p]} {p.value}" for p in (Parity.RANDOM, Parity.UNSUPPORTED) if others[p]]
    names = "" if family in _KINDS else ", ".join(sorted({each.group for each in ran}))
    return f"| {family.replace('_', ' ')} | {names} | {len(ran)} | {equal} | {'; '.join(texts)} |"


def _unsupported(ran: Iterable[Ran]) -> Iterator[str]:
    yield "## Not supported\n\n| Operator | Cases | Reason |\n|---|---:|---|"
    pairs = (
        pair for each in ran if each.parity is Parity.UNSUPPORTED for pair in each.reasons.items()
    )
    for (kind, reason), count in sorted(Counter(pairs).items()):
        yield f"| {kind} | {count} | {reason} |"
    yield ""


def main() -> None:
    """Write the document."""
    PATH.write_text(table([hold(case) for case in all_cases()]), encoding="utf-8")


if __name__ == "__main__":
    main()
