"""Writes ``docs/gradients.md``: what became of every case of ONNX's conformance suite, in numbers.

Run as ``python -m tests.conformance.gradients_table`` to write it anew.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import onnx
import onnxruntime as ort

from lsa_onnx.rewrite.expand.table import EXPANSIONS
from lsa_onnx.rewrite.vjp import ruled_by_family, ruled_operators
from lsa_onnx.rewrite.vjp.sweep import STEPS, ZERO_GRADIENT
from tests.conformance.cases import NEWEST, Case, folder_cases, light_cases, node_cases
from tests.conformance.examine import examine
from tests.conformance.outcomes import Finding, Outcome

PATH = Path(__file__).parents[2] / "docs" / "gradients.md"
VERSIONS = f"onnx {onnx.__version__}, onnxruntime {ort.__version__}"
# Nothing to differentiate by, or nothing to differentiate.
_OUTSIDE = (Outcome.NO_INPUT, Outcome.NO_OUTPUT)

_INTRODUCTION = f"""\
# Gradients

How far the adjoint rules of `lsa_onnx.rewrite.vjp` reach, measured on ONNX's own conformance suite: every case of a
single operator (also in the form in which ONNX writes the operator out), the small models, and networks of its model
zoo with random weights. For each case with a float input and a float output, the model is raised and written out as an
attack does it, its adjoints are written, run on ONNX Runtime (CPU) with random weights for the outputs, and held to
central differences of the *original* model along random directions: in double precision where anything computes it so,
else in single. The point is the case's own; where that lies on a kink, one nearby. Where a rule needs the integers of a
case (axes, say) to be constants, they are made that. Operators of opset 26 and later run as those of opset 25 where
that has them.

Generated with {VERSIONS} by `python -m tests.conformance.gradients_table`; a test compares.
"""

_MEANINGS = {
    Outcome.CHECKED: "every gradient equals the differences",
    Outcome.PART: "those of some inputs do, others are refused",
    Outcome.ZERO: "no differentiable path, and the differences are 0",
    Outcome.ESTIMATE: "quantised: rounding counts as the identity and scales as constants, by design",
    Outcome.RANDOM: "two runs differ, so there is nothing to compare with",
    Outcome.REFUSED: "no rule, or a form of the node that has none; the reason is listed",
    Outcome.NOT_RUN: "the model, or what it is written out into, has no kernels there",
    Outcome.NO_INPUT: "nothing to differentiate by",
    Outcome.NO_OUTPUT: "nothing to differentiate",
    Outcome.NOT_SMOOTH: "no smooth point was found near the inputs",
    Outcome.DISAGREES: "a defect",
    Outcome.ERROR: "a defect",
}


def all_cases() -> Iterator[Case]:
    """Every case of the table."""
    yield from node_cases()
    yield from folder_cases()
    yield from light_cases()


def table(findings: Sequence[Finding]) -> str:
    """The whole document."""
    parts = [_INTRODUCTION, *_totals(findings), *_by_operator(findings), *_rules()]
    return "\n".join(parts)


def _totals(findings: Sequence[Finding]) -> Iterator[str]:
    counts = Counter(finding.outcome for finding in findings)
    yield "## Outcomes\n\n| Outcome | Cases | Meaning |\n|---|---:|---|"
    for outcome, meaning in _MEANINGS.items():
        yield f"| {outcome.value} | {counts[outcome]} | {meaning} |"
    yield f"| all | {len(findings)} | |\n"


def _by_operator(findings: Sequence[Finding]) -> Iterator[str]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.group, []).append(finding)
    yield "## By operator\n"
    yield "Cases without a float input or output are left out. The last rows are ONNX's models of several"
    yield "operators, by kind.\n"
    yield "| Operator | Cases | Checked | Others |\n|---|---:|---:|---|"
    outside = []
    # Operators begin with a capital; kinds of models, and other domains, come after them.
    for group in sorted(groups):
        kept = [finding for finding in groups[group] if finding.outcome not in _OUTSIDE]
        if not kept:
            outside.append(group)
            continue
        checked = sum(finding.outcome is Outcome.CHECKED for finding in kept)
        yield f"| {group} | {len(kept)} | {checked} | {_others(kept)} |"
    yield f"\nOnly cases without a float input or output: {', '.join(outside)}.\n"


def _others(findings: Iterable[Finding]) -> str:
    texts = Counter(_text(f) for f in findings if f.outcome is not Outcome.CHECKED)
    return "; ".join(f"{count} {text}" for text, count in sorted(texts.items()))


def _text(finding: Finding) -> str:
    """The outcome of a case with its reasons, each once."""
    wanted = Outcome.REFUSED if finding.outcome is Outcome.PART else finding.outcome
    reasons = {v.reason for v in finding.inputs.values() if v.outcome is wanted and v.reason}
    if not finding.inputs and finding.reason:
        reasons = {_short(finding.reason)}
    return ": ".join([finding.outcome.value, *filter(None, [", ".join(sorted(reasons))])])


def _short(reason: str) -> str:
    """Without the names of tensors, and without advice."""
    found = re.fullmatch(r"cannot raise .*? to opset \d+: (.*); export the model again .*", reason)
    text = found[1] if found else reason
    return ", ".join(dict.fromkeys(re.sub(r" ?'[^']*'", "", text).split("; ")))


def _rules() -> Iterator[str]:
    yield "## Rules by family\n\n| Family | Operators |\n|---|---|"
    for family, operators in ruled_by_family().items():
        yield f"| {family.replace('_', ' ')} | {', '.join(operators)} |"
    flat = sorted((ZERO_GRADIENT | STEPS) - set(ruled_operators()))
    own = {f"{domain}::{kind}" if domain else kind for domain, kind in EXPANSIONS}
    yield f"\n## Zero by definition\n\n{', '.join(flat)}.\n"
    yield "Ceil, Floor, Round and Sign pass adjoints on under `--straight-through`.\n"
    yield f"## Written out first\n\nBy `lsa_onnx.rewrite.expand`: {', '.join(sorted(own - set(ruled_operators())))}.\n"
    yield f"By the function body that ONNX gives: {', '.join(_bodies())}.\n"


def _bodies() -> list[str]:
    """The operators for which ONNX's own function body stands."""
    served = {*ruled_operators(), *ZERO_GRADIENT, *STEPS, *(kind for _, kind in EXPANSIONS)}
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    return [name for name in sorted(names - served) if _has_body(name)]


def _has_body(name: str) -> bool:
    try:
        schema = onnx.defs.get_schema(name, NEWEST, "")
    except onnx.defs.SchemaError:
        return False
    # The package's type information leaves these out.
    return any(getattr(schema, f"has_{kind}function") for kind in ("", "context_dependent_"))


def main() -> None:
    """Write the document."""
    PATH.write_text(table([examine(case) for case in all_cases()]), encoding="utf-8")


if __name__ == "__main__":
    main()
