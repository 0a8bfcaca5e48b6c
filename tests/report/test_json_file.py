"""The JSON file: strict, atomic, readable again."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from pathlib import Path

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.json_file import (
    Document,
    dumps,
    read_evaluation,
    read_evaluations,
    read_report,
    write_json,
)
from tests.report.evaluations import (
    all_documents,
    all_evaluations,
    at_eps,
    evaluation,
    hostile,
    sweep,
)
from tests.report.examples import all_reports, hostile_report, small_report


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", all_reports())
def test_a_written_report_reads_back_equal(tmp_path: Path, name: str) -> None:
    report = all_reports()[name]
    write_json(report, tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize("name", all_evaluations())
def test_a_written_evaluation_reads_back_equal(tmp_path: Path, name: str) -> None:
    written = all_evaluations()[name]
    write_json(written, tmp_path / "evaluation.json")
    read = read_evaluation(tmp_path / "evaluation.json")
    # Equal but for the shares, which are rounded on the way.
    assert read.to_dict() == written.to_dict()
    assert Evaluation.from_dict(read.to_dict()) == read


@pytest.mark.parametrize("name", all_documents())
def test_written_evaluations_of_several_models_read_back_equal(tmp_path: Path, name: str) -> None:
    written = all_documents()[name]
    write_json(written, tmp_path / "all.json")
    read = read_evaluations(tmp_path / "all.json")
    assert read.to_dict() == written.to_dict()
    assert Evaluations.from_dict(read.to_dict()) == read


@pytest.mark.parametrize("document", [hostile_report(), hostile()], ids=["report", "evaluation"])
def test_text_is_printable_ascii(document: Document) -> None:
    text = dumps(document)
    assert text.endswith("}\n")
    assert re.fullmatch(r"[\x20-\x7e\n]*", text)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_not_finite_is_a_defect(tmp_path: Path, value: float) -> None:
    report = small_report()
    run = dataclasses.replace(report.run, seconds=value)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(dataclasses.replace(report, run=run), tmp_path / "report.json")
    assert names_in(tmp_path) == []


def test_full_disk_keeps_the_earlier_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    write_json(small_report(), path)
    earlier = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"report\.json': the disk is full"):
        write_json(hostile_report(), path)
    assert path.read_bytes() == earlier
    assert names_in(tmp_path) == ["report.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"twice": 1, "once": 1, "twice": 2}', "field 'twice' is given twice"),
        (b"[1, 2]", "the document is an array of 2 values"),
        (b'{"schema_version": "0.9"}', "schema version '0.9', this tool reads '1.3'"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "odd name.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"odd name\.json': .*{re.escape(words)}") as caught:
        read_report(path)
    assert "\n" not in str(caught.value)


def test_one_document_is_not_taken_for_the_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    write_json(sweep(), path)
    words = r"cannot read report .*mine\.json': this is an evaluation, not a report; .*-onnx scan`"
    with pytest.raises(DataError, match=words):
        read_report(path)
    write_json(small_report(), path)
    words = r"cannot read evaluation .*': this is a report, not an evaluation; .*-onnx evaluate`"
    with pytest.raises(DataError, match=words):
        read_evaluation(path)


def test_a_file_that_is_no_json_names_what_was_wanted(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("x")
    with pytest.raises(DataError, match=r"mine\.json'.*: give the JSON file of an evaluation"):
        read_evaluation(path)


def test_shares_are_plain_decimals_that_text_tools_find() -> None:
    lines = dumps(sweep()).splitlines()
    assert '  "clean_accuracy": 0.99,' in lines
    assert '      "robust_accuracy": 0.325,' in lines
    assert '      "success_rate": 0.671717,' in lines


def test_no_small_number_has_an_exponent_but_names_keep_theirs() -> None:
    tiny = at_eps("fgsm 1e-05", "1e-7", 1e-7, 0, robust_accuracy=2e-5, interval=(1e-17, 7e-5))
    tiny = dataclasses.replace(tiny, parameters={'quote" 1e-3': -2.5e-8, "whole": 1e22})
    text = dumps(evaluation([tiny]))
    for part in (
        '"attack": "fgsm 1e-05"',
        '"eps": 0.0000001,',
        '"robust_accuracy": 0.00002,',
        '"quote\\" 1e-3": -0.000000025,',
        '"whole": 1e+22',
    ):
        assert part in text
    assert json.loads(text)["results"][0]["interval"] == [0.0, 7e-5]


def test_infinity_written_as_a_large_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(dumps(small_report()).replace('"seconds": 2.34', '"seconds": 1e999'))
    with pytest.raises(DataError, match=r"'run\.seconds' is inf, not a finite number"):
        read_report(path)


@pytest.mark.parametrize("name", ["absent.json", "folder", "nul\0"])
def test_unreadable_path_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=re.escape(name.replace("\0", "\\x00"))):
        read_report(f"{tmp_path}/{name}")


def test_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(b"\xef\xbb\xbf" + dumps(small_report()).encode())
    assert read_report(path) == small_report()


def test_key_order_follows_the_record() -> None:
    keys = list(json.loads(dumps(small_report())))
    assert keys[:3] == ["tool_version", "created", "model"]
