"""The page, of rows made up so that every figure is known."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError
from lsa_trainer.recipes import RowResult, read_results, results_page
from lsa_trainer.recipes.results import Attacked, pack

ROWS = ("Normal", "AT-PGD", "AT-PGD-LR-L1", "AT-PGD-LR-MVL")


def attacked(*right: int) -> Attacked:
    """Of 10 samples, the first so many are right at ε = 0, 0.1, ..."""
    marks = [np.arange(10) < count for count in right]
    return Attacked(
        eps=[0.1 * place for place in range(len(right))],
        n=10,
        accuracy=[10.0 * count for count in right],
        right=[pack(each) for each in marks],
        parameters={"steps": 20},
        seconds=2.0,
    )


def row(name: str, seed: int, *right: int, **changed: Any) -> RowResult:
    regularised = "-LR-" in name
    fields: dict[str, Any] = {
        "recipe": "moon-table2", "scale": "", "title": "Two moons", "source": "Somebody 2023, Table 2",
        "index": ROWS.index(name), "row": name, "seed": seed,
        "base": "normal" if name == "Normal" else "at-pgd",
        "layers": {"second": 0.3} if regularised else {}, "places": [1] if regularised else [],
        "layers_from": "", "train_eps": None if name == "Normal" else 0.1, "eta": 0.25, "options": {},
        "published": [], "published_r_and_g": None,
        "attacks": {"fgsm": attacked(*right), "auto": attacked(*(count - 1 for count in right))},
        "training_seconds": 4.0, "model_sha256": "0", "machine": "a machine", "versions": {"torch": "2"},
    }  # fmt: skip
    return RowResult(**{**fields, **changed})


@pytest.fixture
def results() -> list[RowResult]:
    base = {"published": [80.0, 60.0], "published_r_and_g": 140.0}
    better = {"published": [85.5, 70.0], "published_r_and_g": 155.5}
    return [
        row("AT-PGD-LR-L1", 0, 9, 8, **better),
        row("AT-PGD-LR-L1", 1, 9, 8, **better),
        row("AT-PGD-LR-MVL", 0, 8, 6, places=[0, 2], layers={"first": 0.1, "third": 0.5}),
        row("AT-PGD", 0, 8, 6, **base),
        row("AT-PGD", 1, 8, 6, **base),
        row("Normal", 0, 10, 2),
        row("Normal", 1, 9, 3),
    ]


def cells(page: str, section: str, name: str) -> list[str]:
    """The cells of a row in a section."""
    part = page.split(f"## {section}")[1].split("\n## ")[0]
    (line,) = [each for each in part.splitlines() if each.startswith(f"| {name} |")]
    return [each.strip() for each in line.split("|")[2:-1]]


def test_rows_are_in_the_order_of_the_recipe(results: list[RowResult]) -> None:
    part = results_page(results).split("## Under FGSM")[1].split("\n## ")[0]
    assert re.findall(r"^\| (\S+) \| \d", part, re.MULTILINE) == list(ROWS)


def test_accuracies_are_means_with_students_interval(results: list[RowResult]) -> None:
    # 100 and 90, 20 and 30: a spread of 7.07, and 12.706 · 7.07 / √2 = 63.53; R&G is 120 both times.
    page = results_page(results)
    assert cells(page, "Under FGSM", "Normal") == [
        "95.00 ± 63.53", "25.00 ± 63.53", "120.00 ± 0.00", "2",
    ]  # fmt: skip
    assert cells(page, "Under FGSM", "AT-PGD-LR-MVL") == ["80.00", "60.00", "140.00", "1"]
    assert cells(page, "Under auto", "AT-PGD")[2] == "120.00 ± 0.00"


def test_what_was_published_stands_below_under_fgsm_alone(results: list[RowResult]) -> None:
    page = results_page(results)
    assert page.count("| *published* |") == 2
    assert "| *published* | *85.50* | *70.00* | *155.50* |  |" in page
    assert "*published*" not in page.split("## Under auto")[1]


def test_a_gain_is_paired_with_the_base(results: list[RowResult]) -> None:
    # Of ten samples one more is right at 0 and two at 0.1, with either seed: 10 + 20 points.
    trained, layers, gamma, published, *gains = cells(
        results_page(results), "Gains over the base", "AT-PGD-LR-L1"
    )
    assert (trained, layers, gamma, published) == ("0.1", "L1", "0.3", "+15.50")
    assert [re.match(r"\**[+-][\d.]+", each) is not None for each in gains] == [True] * 4
    assert [each.strip("*").partition(" ")[0] for each in gains] == ["+30.00", "+20.00"] * 2
    assert not gains[1].startswith("**"), "two samples of ten may as well not be drawn"


def test_a_row_without_the_term_is_compared_with_the_first_of_its_base() -> None:
    # Trained with ε = 0.5, it gains one sample of ten at 0 and two at 0.1, which the base was trained with.
    wider = {"train_eps": 0.5, "options": {"eps": "0.5"}}
    results = [
        row("AT-PGD", 0, 5, 4),
        row("AT-PGD-LR-L1", 0, 6, 6, **wider),
        row("AT-PGD-LR-MVL", 0, 7, 4),
        dataclasses.replace(row("AT-PGD", 0, 6, 6, **wider), index=9, row="AT-PGD-wide"),
    ]
    page = results_page(results)
    part = "Gains over the base"
    assert [each.partition(" ")[0].strip("*") for each in cells(page, part, "AT-PGD-wide")] == [
        "0.5", "–", "–", "–", "+30.00", "+20.00", "+30.00", "+20.00",
    ]  # fmt: skip
    # Each regularised row has the one of its own ε.
    assert cells(page, part, "AT-PGD-LR-L1")[4].startswith("+0.00")
    assert cells(page, part, "AT-PGD-LR-MVL")[4].startswith("+20.00")
    assert "of 3 rows" not in page, "a row without the term says nothing of the term"


def test_layers_that_a_scan_chose_are_named(results: list[RowResult]) -> None:
    found = cells(results_page(results), "Gains over the base", "AT-PGD-LR-MVL")
    assert found[1:5] == ["L0, L2", "0.1 to 0.5", "–", "+0.00 [+0.00, +0.00]"]


def test_the_page_says_where_a_gain_holds() -> None:
    results = [row("AT-PGD", 0, 3, 2), row("AT-PGD-LR-L1", 0, 9, 8), row("AT-PGD-LR-MVL", 0, 3, 2)]
    page = results_page(results)
    assert "- Under FGSM the term gains R&G in 1 of 2 rows: AT-PGD-LR-L1." in page
    assert (
        "- Under FGSM the term neither gains nor loses for certain R&G in 1 of 2 rows: AT-PGD-LR-MVL."
        in page
    )
    worse = [row("AT-PGD", 0, 9, 8), row("AT-PGD-LR-L1", 0, 3, 2)]
    assert "- Under auto the term loses R&G in 1 of 1 rows: AT-PGD-LR-L1." in results_page(worse)


def test_settings_times_and_machines_are_told(results: list[RowResult]) -> None:
    page = results_page(results)
    assert (
        "# Two moons\n\nSomebody 2023, Table 2, run anew by `lsa-onnx recipe moon-table2`.\n"
        in page
    )
    assert "- Test samples: 10 under FGSM, 10 under auto. Seeds: 0, 1. η = 0.25.\n" in page
    assert "- FGSM: ε = 0, 0.1, 20 steps.\n- auto: ε = 0, 0.1, 20 steps.\n" in page
    assert "- ε of training: 0.1.\n- Machine: a machine (torch 2).\n" in page
    assert cells(page, "Seconds per row", "AT-PGD") == ["4.0", "4.0"]


def test_a_small_scale_is_told() -> None:
    page = results_page([row("Normal", 0, 5, 5, scale="smoke")])
    assert "at scale `smoke`, which is for a quick look." in page
    assert "Gains over" not in page


def test_rows_without_a_base_at_their_seed_have_no_gain() -> None:
    page = results_page([row("AT-PGD", 0, 5, 5), row("AT-PGD-LR-L1", 1, 6, 6)])
    assert cells(page, "Gains over the base", "AT-PGD-LR-L1")[4:] == ["–"] * 4


def test_what_makes_no_page() -> None:
    with pytest.raises(DataError, match="no row is done yet"):
        results_page([])
    mixed = [row("Normal", 0, 5, 5), row("Normal", 0, 5, 5, recipe="mnist-table3")]
    with pytest.raises(DataError, match="rows of mnist-table3, moon-table2 do not belong on one"):
        results_page(mixed)


def test_a_row_comes_back_from_its_file(tmp_path: Path, results: list[RowResult]) -> None:
    for result in results:
        folder = tmp_path / f"seed-{result.seed}" / result.row
        folder.mkdir(parents=True)
        result.save(folder)
    found = read_results(tmp_path)
    assert sorted(found, key=str) == sorted(results, key=str)
    assert results_page(found) == results_page(results)
    stored = json.loads((tmp_path / "seed-0/Normal/row.json").read_bytes())
    assert stored["attacks"]["fgsm"]["accuracy"] == [100.0, 20.0]
