"""``lsa-onnx report``, and the formats of a scan on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import onnx
import pytest

from lsa_cli import checks
from lsa_onnx.errors import UnsafeModelError
from lsa_onnx.report import read_report, write_json
from lsa_onnx.report.formats import FORMATS, render
from tests.cli.command_line import Cli
from tests.report.evaluations import all_evaluations
from tests.report.examples import all_reports, hostile_report, small_report

FLAGS = [f"--{name}" for name in FORMATS]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The report of an example."""
    path = tmp_path / "saved.json"
    write_json(small_report(), path)
    return path


def test_a_scan_writes_every_format(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    files = {flag: tmp_path / f"out{flag}.json" for flag in ["--json", *FLAGS]}
    annotated = tmp_path / "annotated.onnx"
    words = [word for pair in files.items() for word in pair]
    done = cli(
        "scan", model, "--data", data, "--attack", "pgd", "--attack", "gaussian", "--samples", 8,
        "--device", "cpu", "-q", *words, "--annotate", annotated,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "Layers under" in done.out
    report = read_report(files["--json"])
    for name in FORMATS:
        assert files[f"--{name}"].read_bytes() == render(name, report).encode("utf-8")
    table = list(csv.DictReader(io.StringIO(files["--csv"].read_text("utf-8"))))
    assert [(row["perturbation"], row["tensor"]) for row in table] == [
        ("pgd", "relu"), ("gaussian", "relu")
    ]  # fmt: skip
    mean = report.perturbations[0].layers[0].relative_error.mean
    assert float(table[0]["cm_mean"]) == mean
    onnx.checker.check_model(str(annotated), full_check=True)
    again = tmp_path / "again.onnx"
    assert cli("report", files["--json"], "--annotate", again).code == 0
    assert again.read_bytes() == annotated.read_bytes()


def test_a_report_is_shown_as_the_scan_showed_it(cli: Cli, saved: Path) -> None:
    done = cli("report", saved)
    assert (done.code, done.err) == (0, "")
    assert "Layers under pgd" in done.out
    assert small_report().verdict.headline.split(":")[0] in done.out


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("example", ["small", "hostile"])
def test_a_text_is_alone_on_stdout(cli: Cli, tmp_path: Path, name: str, example: str) -> None:
    report = all_reports()[example]
    write_json(report, tmp_path / "r.json")
    done = cli("report", tmp_path / "r.json", f"--{name}", "-")
    assert (done.code, done.err) == (0, "")
    # Line ends of the table as well.
    assert done.out == render(name, report)


def test_a_file_beside_stdout(cli: Cli, saved: Path, tmp_path: Path) -> None:
    done = cli("report", saved, "--junit", "-", "--html", tmp_path / "r.html")
    assert Xml.fromstring(done.out).tag == "testsuites"  # noqa: S314 - our own
    assert (tmp_path / "r.html").read_text("utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--csv", "-", "--sarif", "-"], "--csv and --sarif are '-', but stdout takes one"),
        (["--html", "-"], "--html '-' is not a file"),
        (["--annotate", "-"], "--annotate '-' is not a file"),
        (["--netron", "scores.txt"], "'scores.txt' does not end in .json"),
        (["--csv", "none/t.csv"], "cannot write 'none/t.csv': its folder does not exist"),
        (["--csv", "same", "--junit", "same"], "--csv and --junit are both 'same'"),
        (["--markdown", "saved.json"], "'saved.json' is an input of this run"),
        (["--plot", "cm.txt"], "cm.txt"),
    ],
)
def test_what_cannot_be_written_is_told_first(
    cli: Cli, saved: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(saved.parent)
    before = saved.read_bytes()
    done = cli("report", "saved.json", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.line
    assert [file.name for file in saved.parent.iterdir()] == ["saved.json"]
    assert saved.read_bytes() == before


def test_json_and_another_text_are_not_both_stdout(cli: Cli, model: Path) -> None:
    done = cli("scan", model, "--json", "-", "--csv", "-")
    assert done.code == 2
    assert "--json and --csv are '-'" in done.line


def test_a_scan_never_writes_over_its_model(cli: Cli, model: Path) -> None:
    before = model.read_bytes()
    for flag in ("--csv", "--annotate"):
        done = cli("scan", model, flag, model)
        assert done.code == 2
        assert f"'{model}' is an input of this run" in done.line
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "give the report.json of a scan"), ("[]", "not a report"), ("{", "give the report.json")],
)
def test_what_is_no_report(cli: Cli, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    done = cli("report", path)
    assert (done.code, done.out) == (2, "")
    assert said in done.line
    assert "check the path" in cli("report", tmp_path / "none.json").line


def test_another_document_is_named(cli: Cli, tmp_path: Path) -> None:
    write_json(next(iter(all_evaluations().values())), tmp_path / "e.json")
    done = cli("report", tmp_path / "e.json")
    assert done.code == 2
    assert "this is an evaluation, not a report" in done.line


def test_a_model_that_is_not_the_scanned_one_is_not_annotated(
    cli: Cli, saved: Path, model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "a.onnx"
    done = cli("report", saved, "--annotate", target, "--model", model, "--csv", tmp_path / "t.csv")
    assert done.code == 2
    assert "is not the model that was scanned" in done.err.splitlines()[-1]
    assert not target.exists()
    # The rest is delivered.
    assert (tmp_path / "t.csv").exists()
    assert "Layers under pgd" in done.out


def test_the_model_of_a_report_may_have_any_name(cli: Cli, tmp_path: Path) -> None:
    write_json(hostile_report(), tmp_path / "h.json")
    done = cli("report", tmp_path / "h.json", "--annotate", tmp_path / "a.onnx")
    assert done.code == 2
    assert "no model file '<img src=x onerror=alert(1)>'" in done.err.splitlines()[-1]


def test_a_model_is_checked_before_it_is_annotated(
    cli: Cli, saved: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Suspicious:
        def __enter__(self) -> Suspicious:  # noqa: PYI034 - nobody derives from it
            return self

        def __exit__(self, *_: object) -> None:
            """There is nothing to end."""

        def check(self, path: object, **_: object) -> None:
            raise UnsafeModelError(f"{str(path)!r} is suspicious")

    monkeypatch.setattr(checks, "start", Suspicious)
    words = ["report", saved, "--model", model, "--annotate", saved.parent / "a.onnx"]
    assert cli(*words).code == 5
    assert cli("report", saved, "--model", model).code == 0
    assert cli(*words, "--no-check").code == 2
    # Netron knows it by its ending.
    assert json.loads(cli("report", saved, "--netron", "-").out)["signature"] == "netron:attachment"
