"""A hardening to JSON and back, the verdict of a comparison, and what every view says of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.report import hardening_view as view
from lsa_onnx.report.hardening import Hardening, Share
from lsa_onnx.report.json_file import dumps, read_hardening, read_report, write_json
from tests.report.examples import small_report
from tests.report.hardenings import (
    accuracy,
    all_hardenings,
    comparison,
    fitted,
    forced,
    hardening,
    refused,
    unsure,
)
from tests.report.strategies import values_of


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(found=values_of(Hardening))
def test_any_hardening_survives_the_round_trip(found: Hardening) -> None:
    read = Hardening.from_dict(json.loads(dumps(found)))
    assert read == found
    assert read.to_dict() == found.to_dict()


@pytest.mark.parametrize("name", all_hardenings())
def test_a_written_hardening_reads_back_equal(tmp_path: Path, name: str) -> None:
    write_json(all_hardenings()[name], tmp_path / "result.json")
    assert read_hardening(tmp_path / "result.json") == all_hardenings()[name]
    assert re.fullmatch(rb"[\x20-\x7e\n]*", (tmp_path / "result.json").read_bytes())


def test_it_is_not_taken_for_another_document(tmp_path: Path) -> None:
    write_json(hardening(), tmp_path / "result.json")
    with pytest.raises(DataError, match=r"this is a hardening, not a report; .* `lsa-onnx scan`"):
        read_report(tmp_path / "result.json")
    write_json(small_report(), tmp_path / "report.json")
    words = r"cannot read hardening .*: this is a report, not a hardening; .* `lsa-onnx harden`"
    with pytest.raises(DataError, match=words):
        read_hardening(tmp_path / "report.json")


def test_a_file_that_is_no_json_names_what_was_wanted(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("x")
    with pytest.raises(DataError, match=r"mine\.json'.*: give the result\.json of a hardening"):
        read_hardening(tmp_path / "mine.json")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("schema_version", "0.9", "this hardening has schema version '0.9', this tool reads '1.0'"),
        ("kind", "hardened", 'field \'kind\' is "hardened", not one of "hardening"'),
        ("layers/conv", "much", "field 'layers.conv' is \"much\", not a number"),
        ("history/1/step", 2.5, "field 'history[1].step' is 2.5, not a whole number"),
        ("history/0/loss", 1, "unknown field 'loss' in 'history[0]'; accepted are step, clean"),
        ("comparison/measure", "loss", 'is "loss", not one of "accuracy", "fit"'),
        ("comparison/clean_after", {"value": 1}, "missing field 'interval', 'n'"),
    ],
)
def test_wrong_value_is_named(path: str, value: object, words: str) -> None:
    values: dict[str, Any] = json.loads(dumps(hardening()))
    *parents, last = path.split("/")
    place: Any = values
    for part in parents:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        Hardening.from_dict(values)
    assert "\n" not in str(caught.value)
    assert "make the hardening again with `lsa-onnx harden`" in str(caught.value)


def test_gain_and_drop_are_differences_of_scores() -> None:
    found = comparison((64, 128), clean_before=accuracy(256), clean_after=accuracy(192))
    assert found.gain == 0.25
    assert found.drop == 0.25


@pytest.mark.parametrize(
    ("robust", "clean", "objection"),
    [
        ((64, 65), 256, None),
        ((64, 65), 192, None),
        ((64, 64), 256, "robust accuracy under auto at eps 10% went from 25.0% to 25.0%"),
        ((64, 32), 256, "robust accuracy under auto at eps 10% went from 25.0% to 12.5%"),
        (
            (64, 65),
            191,
            "clean accuracy fell from 100.0% to 74.6%, by more than --max-clean-drop 0.25",
        ),
        ((64, 32), 128, "robust accuracy under auto at eps 10% went from 25.0% to 12.5%"),
    ],
)
def test_what_speaks_against_the_new_weights(
    robust: tuple[int, int], clean: int, objection: str | None
) -> None:
    found = comparison(robust, clean_before=accuracy(256), clean_after=accuracy(clean))
    assert found.objection(0.25) == objection


@given(robust=st.tuples(st.integers(0, 256), st.integers(0, 256)), clean=st.integers(0, 256))
def test_exactly_a_gain_within_the_allowed_drop_is_better(
    robust: tuple[int, int], clean: int
) -> None:
    found = comparison(robust, clean_before=accuracy(128), clean_after=accuracy(clean))
    assert (found.objection(0.25) is None) == (robust[1] > robust[0] and clean >= 64)


def test_a_fit_is_told_as_a_figure() -> None:
    fit = comparison(measure="fit", robust_after=Share(-1.5, None, 9))
    assert fit.objection(1.0) == "robust fit under auto at eps 10% went from 0.254 to -1.500"


@pytest.mark.parametrize(
    ("found", "status", "headline", "standing"),
    [
        (
            hardening(),
            "better",
            "More robust: under attack 46.9 % of the samples stay right, 25.4 % did before",
            "Written to mnist-b-robust.onnx.",
        ),
        (
            refused(),
            "refused",
            "Not better: robust accuracy under auto at eps 10% went from 25.4% to 25.4%",
            "No file was written.",
        ),
        (
            forced(),
            "forced",
            (
                "Not better: clean accuracy fell from 99.2% to 78.1%, by more than "
                "--max-clean-drop 0.02"
            ),
            "Written to mnist-b-robust.onnx, for that was forced.",
        ),
        (
            fitted(),
            "better",
            "More robust: under attack the fit is 0.614, it was −0.250 before",
            "Written to mnist-b-robust.onnx.",
        ),
    ],
)
def test_the_verdict_in_plain_words(
    found: Hardening, status: str, headline: str, standing: str
) -> None:
    assert view.status(found) == status
    assert view.headline(found) == headline
    assert view.standing(found) == standing


def test_a_gain_that_may_be_chance_and_predicted_labels_are_doubted() -> None:
    labels, chance = view.doubts(unsure())
    assert labels.startswith("No labels were used: the original model's clean predictions stand")
    assert "overlap: more --verification samples would tell" in chance
    assert view.doubts(hardening()) == view.doubts(fitted()) == []


@pytest.mark.parametrize(
    ("robust", "doubted"), [((65, 90), True), ((65, 97), False), ((90, 65), False)]
)
def test_overlapping_intervals_are_doubted_where_there_is_a_gain(
    robust: tuple[int, int], doubted: bool
) -> None:
    found = comparison(robust)
    assert bool(view.doubts(hardening(found))) is doubted
    if doubted:
        assert found.robust_before.interval is not None
        assert found.robust_after.interval is not None
        assert found.robust_before.interval[1] >= found.robust_after.interval[0]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+21.5 points", "+21.5 points"),
        ("-0.4 points", "−0.4 points"),
        ("-0.0 points", "0.0 points"),
        ("+0.000", "0.000"),
        ("-15.1 %", "−15.1 %"),
    ],
)
def test_signs(number: str, shown: str) -> None:
    assert view.signed(number) == shown


def test_the_largest_changes_come_first() -> None:
    names = [name for name, _ in view.largest_changes(hardening())]
    assert names == ["w7", "w6", "w5", "w3", "w2", "w1"]


def test_progress() -> None:
    assert view.progress(hardening()) == "weights of step 54 of 81 chosen"
    assert view.progress(refused()) == "after 81 steps the original weights were still the best"
