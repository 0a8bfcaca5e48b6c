"""``python -m tests.fuzz``: run many cases, or one again, or write the page of a run."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fuzz import guided

if TYPE_CHECKING:
    from tests.fuzz.outcomes import Finding

SUMMARY = "summary.json"


def told() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--cases", type=int, default=1000, metavar="N", help="how many to run [1000]")
    add("--seed", type=int, default=0, metavar="S", help="number of the first; others follow [0]")
    add("--jobs", type=int, default=2, metavar="J", help="processes that run them [2]")
    add(
        "--kind",
        metavar="KIND",
        help="only model, data, sidecar, report, config or real [all but real]",
    )
    add("--minutes", type=float, metavar="M", help="begin no more after these")
    add("--limit", type=float, default=20, metavar="SECONDS", help="that a case may take [20]")
    add("--memory", type=int, default=6144, metavar="MIB", help="that it may take [6144]")
    add(
        "--whole",
        type=int,
        default=250,
        metavar="N",
        help="one in N also by the command itself [250]",
    )
    add("--keep", type=Path, metavar="FOLDER", help="of what is found [lsa-onnx-fuzz, temporary]")
    add("--case", type=int, metavar="SEED", help="run this case alone and tell all of it")
    add("--page", type=Path, metavar="FILE", help="write the page of the run there")
    add("--summary", type=Path, metavar="FILE", help="of an earlier run, for --page: run nothing")
    add(
        "--again",
        action="store_true",
        help="with --summary: run what that found once more, and keep it there",
    )
    add("--guided", choices=list(guided.TARGETS), help="one reader, guided by coverage (atheris)")
    return parser.parse_args()


def main() -> int:
    """Do what the command line says; 1 where a defect was found."""
    given = told()
    if given.guided is not None:
        guided.main(given.guided, given.cases, given.seed)
    # After that: it must see the first import of what it watches.
    from tests.fuzz.kinds import MAKERS
    from tests.fuzz.running import kind_of

    if given.kind not in (None, *MAKERS):
        print(f"no kind {given.kind!r}; accepted are {', '.join(MAKERS)}", file=sys.stderr)
        return 2
    folder = given.keep or Path(tempfile.gettempdir()) / "lsa-onnx-fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    if given.case is not None:
        return _one_case(given.kind or kind_of(given.case), given.case, given.limit, folder)
    return _many_cases(given, folder)


def _many_cases(given: argparse.Namespace, folder: Path) -> int:
    from tests.fuzz.outcomes import Summary
    from tests.fuzz.page import page, table, told_by_cause
    from tests.fuzz.running import Run, Settings

    if given.summary is not None:
        summary = Summary.read(given.summary)
        if given.again:
            cases = [(each.kind, each.seed) for each in summary.findings]
            again = [_found(*case, given.limit)[0] for case in cases]
            summary = replace(summary, again=again)
            summary.write(given.summary)
    else:
        shared = ("cases", "jobs", "kind", "minutes", "whole")
        settings = Settings(
            first=given.seed,
            keep=folder,
            limit_s=given.limit,
            memory_mib=given.memory,
            **{name: getattr(given, name) for name in shared},
        )
        summary = Run(settings, lambda line: print(line, file=sys.stderr, flush=True)).finish()
        summary.write(folder / SUMMARY)
    print("\n".join([table(summary), "", *told_by_cause(summary.findings)]))
    if given.page is not None:
        given.page.write_text(page(summary), encoding="utf-8")
    left = summary.again or summary.findings
    return int(any(found.outcome.is_defect for found in left))


def _found(kind: str, seed: int, limit_s: float) -> tuple[Finding, float]:
    """What becomes of one case, and the seconds that it took."""
    from tests.fuzz.kinds import make_case
    from tests.fuzz.outcomes import Finding, Outcome
    from tests.fuzz.running import seen_again
    from tests.fuzz.worker import Worker, working

    case = make_case(kind, seed)
    worker = Worker(limit_s=limit_s, training=False)
    with working([worker]):
        ran = worker.run((kind, seed))
    if ran.outcome in (Outcome.CRASH, Outcome.HANG):
        ran = seen_again(ran, case, limit_s)
    command = " ".join(case.arguments)
    return Finding(kind, seed, command, ran.outcome, ran.cause, ran.detail), ran.seconds


def _one_case(kind: str, seed: int, limit_s: float, folder: Path) -> int:
    from tests.fuzz.running import keep

    found, seconds = _found(kind, seed, limit_s)
    keep(folder, found)
    print(f"lsa-onnx {found.command}\n{found.outcome.value} after {seconds:.2f} s: {found.cause}")
    print(f"{found.detail}\nfiles: {folder / f'{kind}-{seed}'}")
    return int(found.outcome.is_defect)


if __name__ == "__main__":
    sys.exit(main())
