"""Writes ``docs/fuzzing.md``: what was run, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.fuzz.found import FOUND
from tests.fuzz.outcomes import MEANINGS, Finding, Outcome, Summary

_INTRODUCTION = """\
# Fuzzing

An auditor opens files that strangers made. Here, sound files are damaged by a random hand, one way after another, and
every command that reads them must end by itself, in time, with a documented exit code and at most one clean line on
stderr; it must touch no file but its outputs.

<!-- not run: a run takes an hour -->
```sh
python -m tests.fuzz --cases 50000 --jobs 2        # a run; --seed is the number of its first case
python -m tests.fuzz --kind model --case 4711      # one case again, with all that it told
python -m tests.fuzz --cases 50000 --page docs/fuzzing.md
```

The number of a case and its kind say all of it: the same files and the same command, in any run. A run keeps each case
that needs a look, with how to run it again, in the folder that `--keep` names. It needs Linux or another Unix.
"""

_KINDS = """\
## What is damaged

- **model**: 22 small sound models (CNN, ResNet block, transformer, MLP in half, single and double precision, LSTM,
  If, Loop, Scan, a branch in a loop, quantised, local functions, sparse and external weights, strings, sequences,
  two inputs, a fixed batch, IR 3). Damage to wires (cycles, missing and double tensors), operators, attributes,
  names (markup, control and bidi characters), types, shapes, constants, versions, nesting, chains, functions
  (recursive ones), references to other files; to any field of any protobuf message; to bytes. Read by `scan`,
  `evaluate`, `layers`, `expose`, `diff` and `doctor`. `--kind real` damages the small models of the folder that
  `LSA_ONNX_SHARED` names in the same ways; a run of all kinds leaves them out, to be the same everywhere.
- **data**: npz, npy, IDX, tar, zip, folders of PNG and JPEG; labels; held and perturbed inputs. Heads that promise
  other types, shapes and sizes, pickles, names of members, checksums, links, odd numbers; bytes. Read by `scan` and
  `evaluate`.
- **sidecar**: `model.lsa.toml`. Values, types, keys, tables; bytes. Read by `scan` and `evaluate`.
- **report**: reports, evaluations, hardenings. Any value by any other, depth; bytes. Read by `harden --report` and
  the library's own readers, which must then write the same again.
- **config**: configurations of a training. Options by any value; bytes. Read by `harden` and `loop`.
"""

_CHECKS = """\
## What is held against a command

- It ends by itself: no traceback, no signal, no more than {limit:g} seconds and {memory:,} MiB.
- Its exit code is one of 0 to 5. An error is one line on stderr that begins with `lsa-onnx:`; success prints no
  warning.
- What it prints has no control, bidi or other invisible characters; JSON is strict; markup in names is none on a
  page.
- Every file of its folder is as before, but for its outputs, and no temporary file is left. A file outside, to
  which models point in many ways, is neither read nor written (its time of access tells also of reads by C++).
  Python is asked for nothing else: no unpickling, no connection, no file elsewhere opened for writing, renamed or
  removed.

Cases run in a few long-lived processes, without the check of a model by another process (`--no-check`), which would
take most of the time. A case that ends or stops its process is run again by the command line itself, check
included; *contained* means that this ends in order, most often with exit code 5.{share}
"""

_SHARE = " A few of the others are run both ways, and must end alike."

_GUIDED = """\
## Guided by coverage

`python -m tests.fuzz --guided TARGET --cases N` runs one reader alone (`data`, `labels`, `model`, `report`,
`sidecar`) on inputs that [atheris](https://github.com/google/atheris) makes, which keeps what reaches new lines of
the package. It is an option for those who install atheris (`pip install atheris`, Linux); nothing else here needs
it.
"""


def page(summary: Summary) -> str:
    """The whole document."""
    return "\n".join(_parts(summary))


def _parts(summary: Summary) -> Iterator[str]:
    yield _INTRODUCTION
    yield _KINDS
    share = _SHARE if summary.whole else ""
    yield _CHECKS.format(limit=summary.limit_s, memory=summary.memory_mib, share=share)
    yield from _run(summary)
    yield from _found(summary)
    yield _GUIDED


def _run(summary: Summary) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in summary.versions.items())
    yield "## The run\n"
    yield f"{summary.cases:,} cases from number {summary.first:,} on, in {summary.minutes:g} minutes."
    yield f"{summary.machine}; {versions}."
    yield f"{summary.whole:,} of the cases were also run by the command line itself.\n"
    yield f"{table(summary)}\n"
    yield "| Outcome | Meaning |\n|---|---|"
    yield from (f"| {each.value} | {text} |" for each, text in MEANINGS.items())
    commands = {name for counts in summary.commands.values() for name in counts}
    totals = {n: sum(c.get(n, 0) for c in summary.commands.values()) for n in sorted(commands)}
    told = ", ".join(f"{_shown(name)} {count:,}" for name, count in totals.items())
    yield f"\nCommands: {told}.\n"


def _shown(command: str) -> str:
    return "the library's readers" if command == "read" else f"`{command}`"


def _found(summary: Summary) -> Iterator[str]:
    yield "## Found and mended\n\n| Input | Before | Now |\n|---|---|---|"
    yield from (f"| {each.input} | {each.before} | {each.now} |" for each in FOUND)
    if summary.again:
        ends = Counter(each.outcome.value for each in summary.again)
        told = ", ".join(f"{count} {outcome}" for outcome, count in ends.most_common())
        yield (
            f"\nThe {len(summary.again)} cases of the run that needed a look were run again when what they "
            f"showed was mended: {told}."
        )
    yield "\n## Open\n"
    left = [each for each in summary.again or summary.findings if each.outcome.is_defect]
    yield from (f"- {line.strip()}" for line in told_by_cause(left))
    yield "" if left else "None.\n"


def told_by_cause(findings: list[Finding]) -> Iterator[str]:
    """A line for each cause, the most frequent first."""
    groups: dict[str, list[Finding]] = {}
    for found in findings:
        groups.setdefault(found.cause, []).append(found)
    for cause, alike in sorted(groups.items(), key=lambda item: -len(item[1])):
        first = alike[0]
        yield f"{len(alike):5d}  {first.outcome.value}: {cause} (first: {first.kind} {first.seed})"


def table(summary: Summary) -> str:
    """Kind × outcome, in Markdown."""
    found = {name for counts in summary.outcomes.values() for name in counts}
    shown = [each for each in Outcome if each.value in found or each.is_defect]
    lines = [f"| Kind | Cases | {' | '.join(each.value for each in shown)} |"]
    lines.append(f"|---|---:|{'---:|' * len(shown)}")
    every = {"all": _sums(summary)} if len(summary.outcomes) > 1 else {}
    for kind, counts in {**summary.outcomes, **every}.items():
        cells = [f"{counts.get(each.value, 0):,}" for each in shown]
        lines.append(f"| {kind} | {sum(counts.values()):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _sums(summary: Summary) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in summary.outcomes.values():
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total
