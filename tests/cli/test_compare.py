"""``lsa-onnx compare``: two results, or two models, and what fails."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lsa_onnx.comparing import Side, compare
from lsa_onnx.report import load_schema, read_comparison, write_json
from lsa_onnx.scanning import ScanOptions, scan
from tests import graphs, quantised
from tests.cli.command_line import Cli
from tests.report.evaluations import curve

OPTIONS = partial(ScanOptions, perturbations=("gaussian", "fgsm"), device="cpu")
SCAN = ("--attack", "gaussian", "--attack", "fgsm", "--device", "cpu")


class Made(NamedTuple):
    """A model, another one in which the worst class wins, and a report of each."""

    model: Path
    broken: Path
    first: Path
    second: Path

    @property
    def results(self) -> tuple[Path, Path]:
        """The reports."""
        return self.first, self.second


def broken_net() -> onnx.ModelProto:
    """The small network with other signs in its last layer."""
    proto = graphs.conv_net()
    for weights in proto.graph.initializer[1:3]:
        negated = numpy_helper.from_array(-numpy_helper.to_array(weights), weights.name)
        weights.CopyFrom(negated)
    return proto


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """They are only read, so one scan of each serves for all tests."""
    folder = tmp_path_factory.mktemp("compared")
    found = Made(
        graphs.save(graphs.conv_net(), folder / "net.onnx"),
        graphs.save(broken_net(), folder / "broken.onnx"),
        folder / "a.json",
        folder / "b.json",
    )
    x = graphs.samples(0, 40, 3, 5, 7)
    y = graphs.run(graphs.conv_net(), {"x": x})["y"].argmax(axis=1)
    y[:10] = (y[:10] + 1) % 6
    np.savez(folder / "data.npz", x=x, y=y)
    report = scan(found.model, OPTIONS(folder / "data.npz"))
    write_json(report, found.first)
    write_json(scan(found.broken, OPTIONS(folder / "data.npz")), found.second)
    few = dataclasses.replace(report.data, samples=30)
    write_json(dataclasses.replace(report, data=few), folder / "few.json")
    write_json(curve(), folder / "e.json")
    write_json(compare(Side(report, "a"), Side(report, "a")), folder / "c.json")
    return found


@pytest.fixture
def results(made: Made) -> tuple[Path, Path]:
    return made.results


def test_two_results(cli: Cli, results: tuple[Path, Path], tmp_path: Path) -> None:
    page, text, kept = tmp_path / "c.html", tmp_path / "c.md", tmp_path / "c.json"
    files = ("--html", page, "--markdown", text, "--json", kept)
    done = cli("compare", *results, *files)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Worse: clean accuracy fell from 75.0 % to ")
    found = read_comparison(kept)
    assert found.before.source == str(results[0])
    assert found.clean is not None
    assert found.clean.verdict == "worse"
    assert found.agreement is None
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert text.read_text("utf-8").startswith("## Worse: clean accuracy fell")
    back = cli("compare", *reversed(results))
    assert back.out.startswith("Nothing is worse beyond chance. Better: clean accuracy")


def test_regressions_fail_where_that_is_asked_for(cli: Cli, results: tuple[Path, Path]) -> None:
    done = cli("compare", *results, "--fail-on", "regression", "--json", "-")
    assert done.code == 1
    assert done.line.startswith("lsa-onnx: the gate failed: regression (regressions against '")
    document = json.loads(done.out)
    jsonschema.Draft202012Validator(load_schema("comparison")).validate(document)
    assert document["gates"][0]["status"] == "failed"
    same = cli("compare", results[0], results[0], "--fail-on", "regression")
    assert (same.code, same.err) == (0, "")


def test_gates_are_about_the_second_with_the_first_as_baseline(
    cli: Cli, results: tuple[Path, Path]
) -> None:
    known = cli("compare", results[0], results[0], "--fail-on", "accuracy<80%")
    assert known.code == 0
    assert "known accuracy<80% clean accuracy: 0.75 (0.75 in the baseline)" in known.out
    assert cli("compare", *results, "--fail-on", "accuracy<80%").code == 1
    assert cli("compare", *reversed(results), "--fail-on", "accuracy<70%").code == 0


def test_two_models_are_scanned_alike(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    proto = quantised.static(graphs.conv_net(), (8, 3, 5, 7))
    other = graphs.save(proto, tmp_path / "int8.onnx")
    # What is declared for the first holds for the second.
    (tmp_path / "net.lsa.toml").write_text("[input]\nrange = [-1, 2]\n", encoding="utf-8")
    kept = tmp_path / "c.json"
    done = cli("compare", model, other, "--data", data, *SCAN, "--json", kept)
    assert done.code == 0, done.err
    found = read_comparison(kept)
    assert found.range == (-1.0, 2.0)
    assert found.agreement is not None
    assert (found.agreement.n, found.agreement.value > 0.9) == (40, True)
    assert [each.name for each in found.perturbations] == ["gaussian", "fgsm"]
    (layer,) = found.perturbations[0].layers
    assert (layer.tensor, layer.matched) == ("relu", "node")
    assert layer.other != "relu"
    assert found.unmatched == []
    assert "Both models say the same of" in done.out
    assert [line for line in done.err.splitlines() if "(before)" in line or "(after)" in line] == [
        f"{model} (before)",
        f"{other} (after)",
    ]


def test_a_second_model_with_a_sidecar_is_read_by_its_own(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    other = graphs.save(graphs.conv_net(), tmp_path / "other.onnx")
    (tmp_path / "other.lsa.toml").write_text("[input]\nrange = [-1, 2]\n", encoding="utf-8")
    done = cli("compare", model, other, "--data", data, *SCAN, "-q")
    assert (done.code, done.out) == (2, "")
    assert "the declared ranges are 0 to 1 and -1 to 2, so that an eps means" in done.line


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("a.json", "net.onnx", "is a JSON file and"),
        ("net.onnx", "a.json", "is a JSON file and"),
        ("a.json", "none.json", "No such file or directory: check the path"),
        ("net.onnx", "none.onnx", "no model file"),
        ("none.onnx", "net.onnx", "no model file"),
        ("net.onnx", "net.onnx", "is given twice"),
        ("a.json", "e.json", "one is a scan and one an evaluation; give two of a kind"),
        ("a.json", "few.json", "cannot be compared: the samples are others: 40 with"),
        ("c.json", "a.json", "this is a comparison, not a report"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    cli: Cli, made: Made, first: str, second: str, words: str
) -> None:  # fmt: skip
    folder = made.model.parent
    done = cli("compare", folder / first, folder / second)
    assert (done.code, done.out) == (2, "")
    assert words in done.line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--attack", "pgd"), "--attack says how models are scanned, and two results are given"),
        (("--samples", 3), "--samples says how models are scanned"),
        (("--fail-on", "cm:relo>1"), "there is no layer 'relo'; did you mean 'relu'"),
        (("--fail-on", "cm@pgd>1"), "unknown perturbation in gate 'cm@pgd>1': 'pgd'"),
        (("--fail-on", "mvl"), "gate 'mvl' compares nothing"),
    ],
)
def test_options_that_two_results_have_no_use_for(
    cli: Cli, results: tuple[Path, Path], words: tuple[object, ...], named: str
) -> None:
    done = cli("compare", *results, *words)
    assert (done.code, done.out) == (2, "")
    assert named in done.line


def test_one_file_is_no_place_for_the_inputs_of_two(cli: Cli, made: Made, tmp_path: Path) -> None:
    done = cli("compare", made.model, made.broken, "--save-adversarial", tmp_path / "x.npz")
    assert (done.code, done.out) == (2, "")
    assert "is one file, and each model has inputs of its own" in done.line


def test_a_result_is_never_overwritten(cli: Cli, results: tuple[Path, Path]) -> None:
    before = results[0].read_bytes()
    done = cli("compare", *results, "--json", results[0])
    assert done.code == 2
    assert "is an input of this run, which is never overwritten" in done.line
    assert results[0].read_bytes() == before
