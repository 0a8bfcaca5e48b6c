"""``lsa-onnx scan --shard``, ``merge``, and what Ctrl-C leaves: as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.report import read_evaluation, read_report
from lsa_onnx.scanning import Listener
from tests.cli.command_line import Cli

QUICK = ("--device", "cpu", "--attack", "salt", "--attack", "fgsm", "--batch", "8")


@pytest.fixture
def here(model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(model.parent)
    return model.parent


@pytest.fixture
def words(here: Path, model: Path, data: Path) -> tuple[str, ...]:
    return ("scan", model.name, "--data", data.name, *QUICK)


def figures(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    del found["created"]
    for own in ("seconds", "command"):
        del found["run"][own]
    return found


def test_shards_are_scanned_and_merged(cli: Cli, words: tuple[str, ...]) -> None:
    for number in (1, 2):
        done = cli(*words, "--shard", f"{number}/2", "--json", f"part{number}.json", "-q")
        assert done.code == 0
        assert f"shard {number} of 2" in done.out
        assert Path(f"part{number}.records.npz").exists()
    merged = cli("merge", "part2.json", "part1.json", "--json", "merged.json", "--html", "m.html")
    assert (merged.code, merged.err) == (0, "")
    assert "shard " not in merged.out
    assert cli(*words, "--json", "whole.json", "-q").code == 0
    assert figures("merged.json") == figures("whole.json")
    assert "<title>" in Path("m.html").read_text("utf-8")


def test_json_on_stdout_is_alone(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words, "--records", "all.npz", "-q").code == 0
    done = cli("merge", "all.npz", "--json", "-")
    assert json.loads(done.out)["data"]["samples"] == 40


def one_line(done: Any, code: int, *said: str) -> None:
    assert (done.code, done.out) == (code, "")
    (line,) = done.err.splitlines()
    for part in said:
        assert part in line


def test_bad_shards_end_in_one_line(cli: Cli, words: tuple[str, ...]) -> None:
    one_line(cli(*words, "--shard", "2"), 2, "'2' is no shard; give I/N such as 1/4")
    one_line(cli(*words, "--shard", "1/2"), 2, "give --json FILE")
    one_line(cli(*words, "--shard", "1/2", "--json", "-"), 2, "give --json FILE")
    one_line(cli(*words, "--shard", "3/2", "--json", "p.json"), 2, "--shard 3/2 does not exist")
    fine = cli(*words, "--shard", "1/9", "--json", "p.json")
    one_line(fine, 2, "--shard 1/9 is too fine: 40 samples are 5 batches of 8")
    assert not list(Path().glob("p.*"))


def test_a_merge_that_fails_overwrites_nothing(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli(*words, "--shard", "1/2", "--json", "part1.json", "-q").code == 0
    Path("merged.json").write_text("earlier", "utf-8")
    one_line(cli("merge", "part1.json", "--json", "merged.json"), 2, "shard 2 of 2 is missing")
    one_line(cli("merge", "none.json", "--json", "merged.json"), 2, "'none.json'")
    assert Path("merged.json").read_text("utf-8") == "earlier"
    records = Path("part1.records.npz").read_bytes()
    over = cli("merge", "part1.json", "--json", "part1.records.npz")
    one_line(over, 2, "'part1.records.npz' is an input of this run")
    assert Path("part1.records.npz").read_bytes() == records


def test_an_interrupted_scan_leaves_a_report_beside_the_whole_one(
    cli: Cli, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(self: Listener, stage: str, total: int) -> None:
        if stage == "fgsm":
            raise KeyboardInterrupt

    monkeypatch.setattr("lsa_cli.terminal.TerminalListener.begin", begin)
    Path("report.json").write_text("earlier", "utf-8")
    done = cli(*words, "--json", "report.json", "--html", "report.html")
    assert done.code == 130
    assert "Warning partial: It was interrupted: not done: fgsm." in done.out
    *_, told, last = filter(None, done.err.splitlines())
    assert told == "what was done so far: 'report.partial.json', 'report.partial.html'"
    assert last == "lsa-onnx: interrupted"
    assert Path("report.json").read_text("utf-8") == "earlier"
    assert not Path("report.html").exists()
    report = read_report("report.partial.json")
    assert report.partial is not None
    assert report.partial.missing == ["fgsm"]
    one_line(cli("merge", "report.partial.json"), 2, "is no shard: it was interrupted")


def test_an_interrupted_evaluation_leaves_one_too(
    cli: Cli, here: Path, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(self: Listener, stage: str, total: int) -> None:
        if stage == "pgd eps 4/255":
            raise KeyboardInterrupt

    monkeypatch.setattr("lsa_cli.terminal.TerminalListener.begin", begin)
    Path("e.json").write_text("earlier", "utf-8")
    words = ("--data", data.name, "--device", "cpu", "--steps", "2", "--fail-on", "accuracy<99%")
    done = cli("evaluate", model.name, *words, "--json", "e.json", "--html", "e.html")
    assert done.code == 130
    *_, told, last = filter(None, done.err.splitlines())
    assert told == "what was done so far: 'e.partial.json', 'e.partial.html'"
    assert last == "lsa-onnx: interrupted"
    assert Path("e.json").read_text("utf-8") == "earlier"
    found = read_evaluation("e.partial.json")
    assert [each.eps_text for each in found.results] == ["0", "2/255"]
    assert found.gates == []
    assert Path("e.partial.html").exists()


def test_a_gate_on_what_was_not_reached_does_not_cost_the_rest(
    cli: Cli, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(self: Listener, stage: str, total: int) -> None:
        if stage == "fgsm":
            raise KeyboardInterrupt

    monkeypatch.setattr("lsa_cli.terminal.TerminalListener.begin", begin)
    done = cli(*words, "--json", "report.json", "--fail-on", "accuracy@fgsm<10%", "-q")
    assert done.code == 130
    assert read_report("report.partial.json").partial is not None


@pytest.mark.parametrize("flag", ["--pictures", "--no-pictures"])
def test_pictures_are_the_users_choice(cli: Cli, words: tuple[str, ...], flag: str) -> None:
    assert cli(*words, flag, "--json", "r.json", "-q").code == 0
    shown = read_report("r.json").examples
    assert all(example.clean for example in shown)
    assert flag == "--pictures" or shown == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ("other.onnx",),
            "2 models are given: 'net.onnx', 'other.onnx'; give one, or several with --cluster",
        ),
        (("--workers", "2"), "--workers is for --cluster"),
        (("--reports", "."), "--reports is for --cluster"),
        (("--cluster", "local", "--shard", "1/2", "--json", "r.json"), "leave out --shard"),
        (("--cluster", "local", "other.onnx"), "2 models have a report each; give --reports"),
        (("--cluster", "local", "--reports", "none"), "--reports 'none' is no folder"),
        (
            ("--cluster", "local", "--reports", ".", "--json", "r.json"),
            "--json is for the report of one model",
        ),
        (
            ("--cluster", "local", "--reports", ".", "sub/net.onnx"),
            "two models would write 'net.json'",
        ),
        (("--cluster", "local", "--workers", "0"), "--workers 0 is not usable"),
        (("--cluster", "127.0.0.1:9"), "--cluster 127.0.0.1:9: no Ray cluster answers"),
    ],
)
def test_what_does_not_go_with_a_cluster(
    cli: Cli, words: tuple[str, ...], given: tuple[str, ...], said: str
) -> None:
    one_line(cli(*words, *given), 2, said)
    assert not Path("r.json").exists()
