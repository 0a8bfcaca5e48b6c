"""The fuzzer itself, and a few of its cases."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import seeds, values
from tests.fuzz.case import DECOY, FOLDER, OUTSIDE, Case
from tests.fuzz.documents import odd_value, toml
from tests.fuzz.judging import judged, of_exception
from tests.fuzz.kinds import MAKERS, SHARES, make_case
from tests.fuzz.messages import change_any_field, parts
from tests.fuzz.models import MODEL, damaged_model
from tests.fuzz.outcomes import MEANINGS, Finding, Outcome, Ran, Summary
from tests.fuzz.page import page, table, told_by_cause
from tests.fuzz.raw_bytes import damaged
from tests.fuzz.running import Run, Settings, keep, kind_of
from tests.fuzz.watch import changes, lay_decoy
from tests.fuzz.worker import Worker

if TYPE_CHECKING:
    from random import Random

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="bounds a process as Unix does")

# Shrinks: hypothesis draws what the hand of the fuzzer asks for.
HANDS = st.randoms(use_true_random=False)
KINDS = sorted(SHARES)
# Of each kind, in every run of the tests; what trains takes too long for that.
FEW = {"model": 20, "data": 60, "sidecar": 20, "report": 20}
TRAINING = ("harden", "loop", "doctor")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker(limit_s=60, training=False)
    yield worker
    worker.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_a_case(kind: str) -> None:
    made = [make_case(kind, seed) for seed in range(25)]
    assert made == [make_case(kind, seed) for seed in range(25)]
    assert len({repr(case) for case in made}) == 25


@pytest.mark.parametrize("kind", sorted(FEW))
def test_first_cases_end_in_order(worker: Worker, kind: str) -> None:
    quick = [s for s in range(FEW[kind]) if make_case(kind, s).arguments[0] not in TRAINING]
    ran = {seed: worker.run((kind, seed)) for seed in quick}
    bad = {seed: each for seed, each in ran.items() if each.outcome.is_defect}
    assert not bad, "\n".join(f"{kind} {seed}: {each.cause}" for seed, each in bad.items())
    assert len({each.outcome for each in ran.values()}) > 1


@pytest.mark.slow
@pytest.mark.real
def test_real_models_end_in_order(
    worker: Worker, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSA_ONNX_SHARED", str(shared))
    ran = {seed: worker.run(make_case("real", seed)) for seed in range(60)}
    bad = {seed: each.cause for seed, each in ran.items() if each.outcome.is_defect}
    assert not bad


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_any_case_ends_in_order(worker: Worker, kind: str) -> None:
    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(HANDS)
    def ends_in_order(hand: Random) -> None:
        ran = worker.run(MAKERS[kind](hand))
        assert not ran.outcome.is_defect, f"{ran.cause}\n{ran.detail}"

    ends_in_order()


@pytest.mark.slow
@pytest.mark.parametrize("name", seeds.NAMES)
def test_models_are_sound_before_they_are_damaged(worker: Worker, name: str) -> None:
    seed = seeds.seed(name)
    files = {MODEL: seed.model.SerializeToString(), "data.npz": seed.data, **seed.files}
    words = ("scan", MODEL, "--data", "data.npz", "--attack", "gaussian", "--device", "cpu", "-q")
    assert worker.run(Case(files, words)).outcome is Outcome.DONE


@settings(max_examples=30, deadline=None)
@given(HANDS, st.sampled_from(sorted(seeds.MODELS)))
def test_damaged_models_are_files_and_leave_the_sound_one_alone(hand: Random, name: str) -> None:
    sound = seeds.seed(name).model
    before = sound.SerializeToString(deterministic=True)
    assert isinstance(damaged_model(hand, sound), bytes)
    assert sound.SerializeToString(deterministic=True) == before


@settings(max_examples=50, deadline=None)
@given(HANDS)
def test_a_message_with_another_field_is_still_one(hand: Random) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(seeds.seed("nested").model)
    change_any_field(hand, model)
    again = onnx.ModelProto.FromString(model.SerializeToString())
    assert sum(1 for _ in parts(again)) == sum(1 for _ in parts(model))


@settings(max_examples=50, deadline=None)
@given(HANDS, st.binary(max_size=200))
def test_bytes_are_damaged_at_any_length(hand: Random, content: bytes) -> None:
    assert isinstance(damaged(hand, content), bytes)


@settings(max_examples=50, deadline=None)
@given(HANDS)
def test_tables_are_written_as_toml(hand: Random) -> None:
    drawn = odd_value(hand)
    texts = {f"k{i}": text for i, text in enumerate(values.TEXTS) if text.isprintable()}
    read = tomllib.loads(toml({**texts, "n": [0.5, -1, True]}))
    assert read == {**texts, "n": [0.5, -1, True]}
    assert isinstance(toml({"drawn": drawn}), str)


def test_kinds_have_their_shares() -> None:
    drawn = [kind_of(seed) for seed in range(4000)]
    assert set(SHARES) == set(MAKERS) - {"real"}
    for kind, share in SHARES.items():
        assert abs(drawn.count(kind) / 4000 - share / 100) < 0.03


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    for name in (FOLDER, "tmp"):
        (tmp_path / name).mkdir()
    lay_decoy(tmp_path)
    return tmp_path


CASE = Case({"a/in.txt": b"1"}, ("scan",), ("out.json",), {"link": "in"})


def laid(ground: Path) -> Path:
    CASE.write(ground / FOLDER)
    assert list(changes(ground, CASE)) == []
    return ground / FOLDER


def test_outputs_are_no_change(ground: Path) -> None:
    (laid(ground) / "out.json").write_text("{}")
    (ground / "tmp" / ".ses").touch()
    assert list(changes(ground, CASE)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: (f / "a/in.txt").write_text("2"), "'a/in.txt' was changed"),
        (lambda f: (f / "a/in.txt").unlink(), "'a/in.txt' is gone"),
        (lambda f: (f / "link").unlink(), "'link' is gone"),
        (lambda f: (f / "more").touch(), "'more' was written"),
        (lambda f: (f / "dangling").symlink_to("nowhere"), "'dangling' was written"),
        (lambda f: (f / f"../{OUTSIDE}/more").touch(), "files outside: ['decoy.bin', 'more']"),
        (lambda f: (f / f"../{OUTSIDE}/{DECOY}").touch(), "the file outside was read or written"),
        (lambda f: (f / f"../{OUTSIDE}/{DECOY}").read_bytes(), "the file outside was read"),
        (lambda f: (f / "../tmp/left").touch(), "temporary files left: ['left']"),
    ],
)
def test_changes_are_told(ground: Path, change: Any, told: str) -> None:
    change(laid(ground))
    if "was read" in told and os.statvfs(ground).f_flag & os.ST_NOATIME:
        pytest.skip("the file system keeps no time of access")
    (seen,) = changes(ground, CASE)
    assert seen.startswith(told)


@pytest.mark.parametrize(
    ("code", "out", "err", "told"),
    [
        (7, "", "", "exit code 7"),
        ("text", "", "", "exit code 'text'"),
        (2, "", "", "stderr is not one line"),
        (2, "", "lsa-onnx: a\nb\n", "stderr is not one line"),
        (2, "", "Error: a\n", "stderr is not one line"),
        (0, "", "a\nb\n", "stderr of a command that succeeded"),
        (
            0,
            "",
            "/up/a/b.py:1: UserWarning: x\n  y()\n",
            "stderr of a command that succeeded: a/b.py:1: UserWarning: x",
        ),
        (0, "a\x1b[31m", "", "characters on stdout that are not printable"),
        (3, "", "lsa-onnx: \u202e\n", "characters on stderr that are not printable"),
    ],
)
def test_what_is_not_promised_is_a_defect(
    tmp_path: Path, code: object, out: str, err: str, told: str
) -> None:
    ran = judged(tmp_path, CASE, code, out, err, [])
    assert (ran.outcome, ran.cause) == (Outcome.DEFECT, told)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("page.html", "<p><script>fuzz</script>", "markup of a name is markup of the page"),
        ("out.json", '{"a": NaN}', "the JSON file is none"),
    ],
)
def test_outputs_are_looked_into(ground: Path, name: str, content: str, told: str) -> None:
    (ground / FOLDER / name).write_text(content)
    ran = judged(ground, Case({}, ("scan",), (name,)), 0, "", "", [])
    assert (ran.outcome, ran.cause) == (Outcome.DEFECT, told)


def test_one_clean_line_is_no_defect(tmp_path: Path) -> None:
    found = [judged(tmp_path, CASE, code, "a\n", "lsa-onnx: no\n", []) for code in range(1, 6)]
    assert [ran.outcome.value for ran in found] == [f"exit {code}" for code in range(1, 6)]
    assert judged(tmp_path, CASE, 0, "ü\n", "", ["opened x"]).cause == "opened x"


def test_a_traceback_is_told_by_its_place() -> None:
    with pytest.raises(DecodeError) as raised:
        onnx.load_model_from_string(b"\xff")
    ran = of_exception(raised.value)
    assert ran.outcome is Outcome.DEFECT
    assert ran.cause.startswith("DecodeError at tests/fuzz/test_fuzz.py:")


@pytest.mark.slow
def test_a_worker_outlives_crashes_and_hangs() -> None:
    worker = Worker(limit_s=5, training=False)
    try:
        crash = worker.run(("no kind", 0))
        assert (crash.outcome, crash.cause) == (
            Outcome.CRASH,
            "exit code 1 in no frame of the project",
        )
        assert not worker.run(("sidecar", 0)).outcome.is_defect
        process = worker._process
        assert process is not None
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        assert worker.run(("sidecar", 0)).outcome is Outcome.HANG
        assert not worker.run(("sidecar", 0)).outcome.is_defect
    finally:
        worker.close()
    assert not process.is_alive()


def summary(*findings: Finding) -> Summary:
    outcomes = {"data": {"exit 2": 7, "exit 0": 1}, "model": {"exit 3": 1500, "contained": 2}}
    return Summary(
        first=100, cases=1510, minutes=2.5, machine="2 cores", versions={"onnx": "1.23.0"}, limit_s=20,
        memory_mib=2048, outcomes=outcomes, commands={"data": {"scan": 8}, "model": {"read": 1502}}, whole=6,
        findings=list(findings),
    )  # fmt: skip


def test_a_summary_is_kept(tmp_path: Path) -> None:
    kept = summary(Finding("model", 3, "scan m", Outcome.CONTAINED, "SIGSEGV", "text"))
    kept.write(tmp_path / "summary.json")
    assert Summary.read(tmp_path / "summary.json") == kept


def test_the_table_counts() -> None:
    assert table(summary()).splitlines() == [
        "| Kind | Cases | exit 0 | exit 2 | exit 3 | contained | defect | crash | hang |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        "| data | 8 | 1 | 7 | 0 | 0 | 0 | 0 | 0 |",
        "| model | 1,502 | 0 | 0 | 1,500 | 2 | 0 | 0 | 0 |",
        "| all | 1,510 | 1 | 7 | 1,500 | 2 | 0 | 0 | 0 |",
    ]


def test_the_page_tells_the_run() -> None:
    text = page(summary())
    for told in (
        "1,510 cases from number 100",
        "2.5 minutes",
        "onnx 1.23.0",
        "`scan` 8",
        "None.",
        "2,048 MiB",
    ):
        assert told in text
    assert all(f"| {each.value} | {meaning} |" in text for each, meaning in MEANINGS.items())
    found = Finding("model", 3, "scan m", Outcome.HANG, "no end", "")
    assert "- 1  hang: no end (first: model 3)" in page(summary(found))


def test_what_is_kept_can_be_kept_again(tmp_path: Path) -> None:
    seed = next(s for s in range(99) if make_case("model", s).links)
    for detail in ("first", "second"):
        keep(tmp_path, Finding("model", seed, "scan", Outcome.DEFECT, "cause", detail))
    text = (tmp_path / f"model-{seed}" / "HOW.txt").read_text("utf-8")
    assert "second" in text
    assert f"python -m tests.fuzz --kind model --case {seed}" in text


@pytest.mark.slow
def test_a_run_counts_and_keeps(tmp_path: Path) -> None:
    told: list[str] = []
    settings = Settings(first=3, cases=6, jobs=2, keep=tmp_path, kind="sidecar", whole=3)
    found = Run(settings, told.append).finish()
    assert (found.cases, found.first, found.whole) == (6, 3, 2)
    assert sum(found.outcomes["sidecar"].values()) == sum(found.commands["sidecar"].values()) == 6
    assert len(told) == len(found.findings)


def test_findings_are_told_by_cause() -> None:
    made = [
        Finding("data", seed, "", Outcome.DEFECT, cause, "") for seed, cause in enumerate("aba")
    ]
    assert list(told_by_cause(made)) == [
        "    2  defect: a (first: data 0)",
        "    1  defect: b (first: data 1)",
    ]


def test_what_ran_has_an_outcome_for_each_code() -> None:
    assert not any(Ran(outcome).outcome.is_defect for outcome in list(Outcome)[:7])
