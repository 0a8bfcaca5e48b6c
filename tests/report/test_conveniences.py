"""What documents do for whoever has one at hand: text, files, frames, figures, a piece of a notebook."""

from __future__ import annotations

import math
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report import read_evaluation, read_hardening, read_report
from lsa_onnx.report.conveniences import Drawn, Readable, Tabular
from lsa_onnx.report.evaluation import Evaluation
from lsa_onnx.report.evaluations import Evaluations
from lsa_onnx.report.formats import render
from lsa_onnx.report.formats.csv import COLUMNS
from lsa_onnx.report.json_file import read_boundary, read_evaluations, read_landscape
from lsa_onnx.report.records import LAYER_COLUMNS, STRENGTH_COLUMNS, layer_records
from lsa_onnx.report.text import visible
from tests.report.evaluations import all_documents, all_evaluations, beside, curve
from tests.report.examples import HOSTILE_NAMES, all_reports, hostile_report, small_report
from tests.report.figures.records import boundary, landscape
from tests.report.hardenings import hardening
from tests.report.hardenings import hostile as hostile_hardening

REPORTS = all_reports()
TABULAR: dict[str, Any] = {**REPORTS, **all_evaluations(), **all_documents()}
OTHERS: dict[str, Any] = {
    "hardening": hardening(),
    "hostile hardening": hostile_hardening(),
    "landscape": landscape(),
    "boundary": boundary(),
}
READERS: list[tuple[Any, Any]] = [
    (small_report(), read_report),
    (curve(), read_evaluation),
    (beside(), read_evaluations),
    (hardening(), read_hardening),
    (landscape(), read_landscape),
    (boundary(), read_boundary),
]


@pytest.mark.parametrize("document", [*TABULAR.values(), *OTHERS.values()])
def test_text_is_what_the_terminal_shows_and_cannot_act_on_it(document: Readable) -> None:
    shown = str(document)
    assert len(shown.splitlines()) > 3
    assert shown.replace("\n", "").isprintable()
    assert max(map(len, shown.splitlines())) <= 110


def test_text_begins_with_the_verdict() -> None:
    report = small_report()
    assert str(report).startswith(report.verdict.headline)


@pytest.mark.parametrize(("document", "read"), READERS)
def test_json_comes_back(document: Any, read: Any, tmp_path: Path) -> None:
    document.save(tmp_path / "it.JSON")
    assert read(tmp_path / "it.JSON").to_dict() == document.to_dict()


@pytest.mark.parametrize(
    "document", [small_report(), hostile_report(), curve(), beside(), landscape()]
)
def test_pages_are_whole(document: Readable, tmp_path: Path) -> None:
    document.save(tmp_path / "it.html")
    page = (tmp_path / "it.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")


@pytest.mark.parametrize("document", [small_report(), curve(), landscape(), boundary()])
@pytest.mark.parametrize(
    ("ending", "start"),
    [(".png", b"\x89PNG"), pytest.param(".pdf", b"%PDF", marks=pytest.mark.slow)],
)
def test_pictures(document: Readable, ending: str, start: bytes, tmp_path: Path) -> None:
    document.save(tmp_path / f"it{ending}")
    assert (tmp_path / f"it{ending}").read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("ending", "name"), [("csv", "csv"), ("md", "markdown"), ("sarif", "sarif")]
)
def test_formats_of_other_programs(ending: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"it.{ending}"
    small_report().save(path)
    assert path.read_bytes() == render(name, small_report()).encode("utf-8")


@pytest.mark.parametrize(
    ("document", "path", "accepted"),
    [
        (
            small_report(),
            "r.txt",
            "a Report; accepted are .json, .html, .csv, .md, .sarif, .png, .svg, .pdf",
        ),
        (small_report(), "report", "a Report; accepted are .json"),
        (hardening(), "h.html", "a Hardening; accepted are .json"),
        (boundary(), "b.html", "a Boundary; accepted are .json, .png, .svg, .pdf"),
    ],
)
def test_an_ending_of_no_kind(document: Readable, path: str, accepted: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        document.save(tmp_path / path)
    assert accepted in str(caught.value)
    assert repr(str(tmp_path / path)) in str(caught.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("document", [hostile_report(), beside(), landscape(), boundary()])
def test_a_figure_can_be_shown_later(document: Drawn, tmp_path: Path) -> None:
    figure = document.plot()
    figure.savefig(tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size > 10_000


class TestFrame:
    def test_a_row_is_a_layer_under_a_perturbation(self) -> None:
        report = small_report()
        frame = report.to_dataframe()
        assert list(frame.columns) == list(LAYER_COLUMNS)
        assert len(frame) == len(report.perturbations) * len(report.layers)
        first = frame.iloc[0]
        score = report.perturbations[0].layers[0]
        assert (first["perturbation"], first["layer"], first["tensor"]) == (
            "pgd",
            0,
            "/conv1/Relu_output_0",
        )
        assert first["cm_mean"] == score.relative_error.mean == 0.94
        assert (first["cm_low"], first["cm_high"]) == score.relative_error.interval
        assert first["cm_q95"] == score.relative_error.quantiles["0.95"]
        listed = frame[(frame.perturbation == "pgd") & frame.mvl_rank.notna()]
        assert listed.sort_values("mvl_rank")["tensor"].tolist() == report.mvl.layers

    @pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
    def test_figures_are_those_of_the_report(self, report: Any) -> None:
        frame = report.to_dataframe()
        scores = [score for result in report.perturbations for score in result.layers]
        assert frame["tensor"].tolist() == [score.tensor for score in scores]
        means = [score.relative_error.mean for score in scores]
        for found, mean in zip(frame["cm_mean"], means, strict=True):
            assert math.isnan(found) if mean is None else found == mean
        assert frame["cm_n"].tolist() == [score.relative_error.n for score in scores]

    @pytest.mark.parametrize("document", TABULAR.values(), ids=TABULAR)
    def test_types_are_those_of_the_columns(self, document: Tabular) -> None:
        for name, dtype in document.to_dataframe().dtypes.items():
            kind = {**LAYER_COLUMNS, **STRENGTH_COLUMNS, "model": str}[str(name)]
            assert str(dtype) == {int: "Int64", float: "float64", bool: "bool", str: "object"}[kind]

    def test_columns_are_those_of_the_csv_file(self) -> None:
        assert [column.name for column in COLUMNS] == list(LAYER_COLUMNS)

    def test_a_row_is_an_attack_at_a_strength(self) -> None:
        evaluation = curve()
        frame = evaluation.to_dataframe()
        assert list(frame.columns) == list(STRENGTH_COLUMNS)
        assert frame["robust_accuracy"].tolist() == [r.robust_accuracy for r in evaluation.results]
        assert frame["eps_text"].tolist() == [r.eps_text for r in evaluation.results]
        score = evaluation.summaries[0]
        assert set(frame[frame.attack == score.attack]["r_and_g"]) == {score.r_and_g}

    def test_several_models_stand_in_a_column(self) -> None:
        found = beside()
        frame = found.to_dataframe()
        counts = [len(each.results) for each in found.evaluations]
        assert frame.columns[0] == "model"
        assert frame.groupby("model", sort=False).size().tolist() == counts
        assert list(dict.fromkeys(frame["model"])) == ["1/net.onnx", "2/net.onnx", "other/net.onnx"]

    def test_an_unscored_report_is_an_empty_frame(self) -> None:
        assert REPORTS["empty"].to_dataframe().empty
        assert [*layer_records(REPORTS["empty"])] == []

    def test_without_pandas_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(DataError, match=r"needs pandas.*pip install 'lsa-onnx\[notebook\]'"):
            small_report().to_dataframe()


class Tags(HTMLParser):
    """Collects what a piece of HTML is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(document: Tabular) -> Tags:
    found = Tags()
    found.feed(document._repr_html_())
    assert found.open == []
    return found


class TestFragment:
    @pytest.mark.parametrize("document", TABULAR.values(), ids=TABULAR)
    def test_it_has_nothing_that_acts(self, document: Tabular) -> None:
        found = parsed(document)
        layout = {"div", "p", "strong", "ul", "li", "code"}
        table = {"table", "thead", "tbody", "tr", "th", "td"}
        assert found.tags <= layout | table
        assert found.attributes <= {"style", "scope"}
        assert found.text.replace("\n", "").isprintable()

    @pytest.mark.parametrize("document", TABULAR.values(), ids=TABULAR)
    def test_its_colours_are_those_of_the_page(self, document: Tabular) -> None:
        html = document._repr_html_()
        assert "#" not in html.partition("<table")[0].replace("&#", "")
        assert "rgb" not in html
        assert len(html) < 30_000

    def test_hostile_names_stay_text(self) -> None:
        found = parsed(hostile_report())
        for name in HOSTILE_NAMES[:3]:
            assert visible(name) in found.text
        assert r"esc\x1b[31mape\r\n\x07\x00bell" in found.text

    def test_the_list_comes_first_then_those_that_moved_most(self) -> None:
        found = parsed(REPORTS["large"])
        report = REPORTS["large"]
        at = [found.text.index(name) for name in report.mvl.layers]
        assert at[1:] == sorted(at[1:])
        assert "60 layers scored on 256 samples, 48 not shown here." in found.text

    def test_what_limits_the_figures_is_said(self) -> None:
        assert "these figures say nothing about real ones" in parsed(REPORTS["synthetic"]).text
        assert "eps-large" in parsed(REPORTS["large"]).text
        assert "No tensor of this model could be scored." in parsed(REPORTS["empty"]).text

    def test_an_evaluation_has_a_row_for_each_strength(self) -> None:
        evaluation: Evaluation = curve()
        found = parsed(evaluation)
        assert found.text.count("pgd") >= len([r for r in evaluation.results if r.attack == "pgd"])
        assert f"{evaluation.summaries[0].r_and_g:.1f} of " in found.text

    def test_several_models_are_named(self) -> None:
        several: Evaluations = beside()
        found = parsed(several)
        assert "Model" in found.text
        for each in several.evaluations:
            assert Path(each.model.file.path).name in found.text


def test_a_document_alone_imports_none_of_it() -> None:
    code = (
        "import sys, lsa_onnx.report.document\n"
        "print({'rich', 'jinja2', 'pandas', 'matplotlib', 'numpy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
