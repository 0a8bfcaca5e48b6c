"""``lsa-onnx evaluate``: what goes where, and what the document says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest

from lsa_onnx.report import load_schema, read_evaluations
from tests import graphs
from tests.cli.command_line import Cli

QUICK = ("--steps", 3, "--device", "cpu")


def test_results_go_to_stdout_and_messages_to_stderr(cli: Cli, model: Path, data: Path) -> None:
    done = cli("evaluate", model, "--data", data, *QUICK)
    assert done.code == 0
    assert done.line == "clean accuracy 75.0 % (95 % interval 59.8–85.8 %, n = 40)"
    assert re.search(r"\bpgd\b", done.out)
    for eps in ("2/255", "4/255", "8/255"):
        assert eps in done.out
    assert "\x1b" not in done.out + done.err


def test_json_on_stdout_is_alone(cli: Cli, model: Path, data: Path) -> None:
    done = cli("evaluate", model, "--data", data, "--json", "-", *QUICK)
    assert done.code == 0
    document = json.loads(done.out)
    jsonschema.Draft202012Validator(load_schema("evaluation")).validate(document)
    assert done.out.isascii()
    assert done.out.endswith("}\n")
    assert (document["kind"], document["clean_accuracy"]) == ("evaluation", 0.75)
    assert document["run"]["command"][:2] == ["lsa-onnx", "evaluate"]
    # Other programs find the figures by text alone.
    shares = re.findall(r'"robust_accuracy": (\d\.\d+)', done.out)
    assert [float(s) for s in shares] == [r["robust_accuracy"] for r in document["results"]]
    assert (len(shares), shares[0]) == (4, "0.75")


def test_a_file_is_written_beside_the_terminal_view(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    target = tmp_path / "evaluation.json"
    done = cli("evaluate", model, "--data", data, "--json", target, "-q", *QUICK)
    assert (done.code, done.err) == (0, "")
    assert "pgd" in done.out
    document = json.loads(target.read_text("utf-8"))
    assert [record["eps_text"] for record in document["results"]] == [
        "0",
        "2/255",
        "4/255",
        "8/255",
    ]


def test_options_reach_the_document(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "adv.npz"
    done = cli(
        "evaluate", model, "--data", data, "--samples", 8, "--batch", 3, "--attack", "fgsm",
        "--attack", "pgd", "--eps-list", "0.5, 25/255,0,5%", "--norm", "l2", "--restarts", 2,
        "--momentum", 0.25, "--objective", "margin", "--range", "-1,1", "--labels", "none",
        "--seed", 5, "--max-memory", "1GiB", "--save-adversarial", kept, "--json", "-", "-q", *QUICK,
    )  # fmt: skip
    assert done.code == 0
    found = json.loads(done.out)
    assert found["labels"] == "predicted"
    assert (found["data"]["samples"], found["input"]["range"]) == (8, [-1.0, 1.0])
    assert (found["run"]["batch"], found["run"]["seed"], found["run"]["restarts"]) == (3, 5, 2)
    texts = ["0", "5%", "25/255", "0.5"]
    listed = [(record["attack"], record["eps_text"]) for record in found["results"]]
    assert listed == [(name, text) for name in ("fgsm", "pgd") for text in texts]
    assert [round(r["eps"], 6) for r in found["results"][:4]] == [0.0, 0.1, 0.196078, 0.5]
    parameters = found["results"][-1]["parameters"]
    assert (parameters["norm"], parameters["objective"]) == ("l2", "margin")
    assert (parameters["steps"], parameters["momentum"]) == (3, 0.25)
    with np.load(kept) as saved:
        assert "x_adv_pgd=0.5" in saved


def test_without_labels_it_says_what_counts(cli: Cli, model: Path) -> None:
    done = cli("evaluate", model, "--samples", 4, *QUICK)
    assert done.code == 0
    assert "no labels: the model's own clean predictions are what must not change" in done.line
    assert "Warning predicted-labels" in done.out


def test_a_missed_gate_is_exit_code_1(cli: Cli, model: Path, data: Path) -> None:
    done = cli("evaluate", model, "--data", data, "--expect-accuracy", 0.9, "-q", *QUICK)
    assert (done.code, done.out) == (1, "")
    assert done.line.startswith("lsa-onnx: clean accuracy 0.7500 on 40 samples is below")


def test_saved_inputs_are_evaluated_again_as_data(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    """The accuracy on what the attack made is the robust accuracy that was reported."""
    kept = tmp_path / "adv.npz"
    common = ("--json", "-", "-q", *QUICK)
    first = cli(
        "evaluate",
        model,
        "--data",
        data,
        "--eps-list",
        "0,0.5",
        "--save-adversarial",
        kept,
        *common,
    )
    again = cli("evaluate", model, "--data", kept, "--x-key", "x_adv", "--y-key", "y",
                "--eps-list", "0", *common)  # fmt: skip
    _, attacked = json.loads(first.out)["results"]
    assert attacked["robust_accuracy"] < 0.75
    assert json.loads(again.out)["clean_accuracy"] == attacked["robust_accuracy"]


@pytest.mark.parametrize(
    ("given", "shown"), [("2/255, 8/255", "2/255,8/255"), ("0.5", "0.5"), ("1%,10%", "1%,10%")]
)
def test_strengths_without_0_are_refused_before_anything_runs(
    cli: Cli, model: Path, given: str, shown: str
) -> None:
    done = cli("evaluate", model, "--eps-list", given)
    assert (done.code, done.out) == (2, "")
    assert done.line == (
        f"lsa-onnx: --eps-list {shown!r} leaves out 0, the clean accuracy, which is part of the R&G "
        f"score; give --eps-list 0,{shown}"
    )


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """The same network three times: as it is, with smaller scores, and one that says class 3 of all."""
    scaled, biased = graphs.conv_net(), graphs.conv_net()
    for tensor in scaled.graph.initializer[1:]:
        values = 0.5 * onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    bias = 100 * np.eye(6, dtype=np.float32)[3]
    biased.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(bias, "c"))
    protos = {"net": graphs.conv_net(), "scaled": scaled, "biased": biased}
    return [graphs.save(proto, tmp_path / f"{name}.onnx") for name, proto in protos.items()]


def test_several_models_stand_side_by_side(
    cli: Cli, models: list[Path], data: Path, tmp_path: Path
) -> None:
    json_file, html = tmp_path / "all.json", tmp_path / "all.html"
    files = ("--json", json_file, "--html", html)
    done = cli("evaluate", *models, "--data", data, "--eps-list", "0,0.1", *files, *QUICK)
    assert done.code == 0
    first, second, third = models
    assert [line for line in done.err.splitlines() if " of 3)" in line] == [
        f"{first} (1 of 3)", f"{second} (2 of 3)", f"{third} (3 of 3)",
    ]  # fmt: skip
    assert re.search(r"net\.onnx +scaled\.onnx +biased\.onnx", done.out)
    assert "Difference to net.onnx, in percentage points" in done.out
    document = json.loads(json_file.read_text("utf-8"))
    jsonschema.Draft202012Validator(load_schema("evaluations")).validate(document)
    assert (document["kind"], len(document["evaluations"])) == ("evaluations", 3)
    assert document["command"][:2] == ["lsa-onnx", "evaluate"]
    found = read_evaluations(json_file)
    assert {d.model for d in found.differences} == {1, 2}
    (score,) = (d for d in found.differences if d.model == 2 and d.eps is None)
    scores = [each.summaries[0].r_and_g for each in found.evaluations]
    assert score.value == pytest.approx(scores[2] - scores[0], abs=1e-5)
    assert "scaled.onnx" in html.read_text("utf-8")


def test_each_of_several_is_evaluated_as_it_is_alone(
    cli: Cli, models: list[Path], data: Path
) -> None:
    common = ("--data", data, "--eps-list", "0,0.1", "--json", "-", "-q", *QUICK)
    together = json.loads(cli("evaluate", *models[:2], *common).out)["evaluations"]
    alone = [json.loads(cli("evaluate", model, *common).out) for model in models[:2]]
    for one, other in zip(together, alone, strict=True):
        assert one["summaries"] == other["summaries"]
        assert [r["right"] for r in one["results"]] == [r["right"] for r in other["results"]]


@pytest.mark.parametrize(
    ("wrong", "code"), [("missing.onnx", 2), ("broken.onnx", 3), ("features.onnx", 2)]
)
def test_a_model_that_cannot_be_opened_is_told_before_any_is_attacked(
    cli: Cli, models: list[Path], data: Path, tmp_path: Path, wrong: str, code: int
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    graphs.save(graphs.elu_mlp(), tmp_path / "features.onnx")
    done = cli("evaluate", models[0], tmp_path / wrong, "--data", data, "--eps-list", "0,0.1")
    assert (done.code, done.out) == (code, "")
    assert done.line.startswith("lsa-onnx: ")
    assert wrong in done.line


def test_a_gate_that_is_missed_names_its_model_and_keeps_what_was_evaluated(
    cli: Cli, models: list[Path], data: Path, tmp_path: Path
) -> None:
    target = tmp_path / "all.json"
    done = cli(
        "evaluate", models[0], models[2], "--data", data, "--eps-list", "0", "--json", target,
        "--expect-accuracy", 0.75, "-q", *QUICK,
    )  # fmt: skip
    assert done.code == 1
    assert done.line.startswith(f"lsa-onnx: {str(models[2])!r}: clean accuracy 0.")
    assert len(json.loads(target.read_text("utf-8"))["evaluations"]) == 1


def test_where_the_first_fails_there_is_nothing_to_write(
    cli: Cli, models: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "all.json"
    done = cli("evaluate", tmp_path / "gone.onnx", models[0], "--json", target, "-q", *QUICK)
    assert (done.code, done.out, target.exists()) == (2, "", False)
    assert "gone.onnx" in done.line


def test_a_model_that_is_given_twice_is_refused(
    cli: Cli, models: list[Path], tmp_path: Path
) -> None:
    done = cli("evaluate", models[0], models[1], models[0])
    assert (done.code, done.out) == (2, "")
    assert done.line == f"lsa-onnx: {str(models[0])!r} is given twice; name each model once"
    other = tmp_path / "sub" / ".." / "net.onnx"
    (tmp_path / "sub").mkdir()
    done = cli("evaluate", models[0], other)
    assert f"is given twice, also as {str(other)!r}" in done.line


def test_models_of_one_name_are_told_apart_by_their_folders(
    cli: Cli, models: list[Path], data: Path, tmp_path: Path
) -> None:
    for folder, source in (("one", models[0]), ("two", models[2])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.onnx").write_bytes(source.read_bytes())
    named = [tmp_path / "one" / "net.onnx", tmp_path / "two" / "net.onnx"]
    done = cli("evaluate", *named, "--data", data, "--eps-list", "0", "-q", *QUICK)
    assert done.code == 0
    assert re.search(r"one/net\.onnx +two/net\.onnx", done.out)


def test_inputs_of_several_models_do_not_fit_into_one_file(
    cli: Cli, models: list[Path], tmp_path: Path
) -> None:
    kept = tmp_path / "adv.npz"
    done = cli("evaluate", *models[:2], "--save-adversarial", kept)
    assert (done.code, done.out, kept.exists()) == (2, "", False)
    assert f"--save-adversarial {str(kept)!r} is one file, and 2 models are given" in done.line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--html", "net.onnx"], "'net.onnx' is an input of this run"),
        (["--html", "-"], "--html '-' is not a file"),
        (["--json", "a.x", "--html", "a.x"], "--json and --html are both 'a.x'"),
        (["--plot", "curves.txt"], "'curves.txt'"),
        (["--html", "missing/page.html"], "'missing/page.html'"),
    ],
)
def test_files_that_cannot_be_written_are_told_first(
    cli: Cli, models: list[Path], monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(models[0].parent)
    done = cli("evaluate", "net.onnx", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.line


def test_one_model_has_a_page_and_a_figure(
    cli: Cli, model: Path, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="the figure needs the extra 'plot'")
    html, plot = tmp_path / "page.html", tmp_path / "curves.svg"
    done = cli(
        "evaluate", model, "--data", data, "--eps-list", "0,0.1", "--html", html, "--plot", plot,
        "-q", *QUICK,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "R&amp;G under pgd" in html.read_text("utf-8")
    assert plot.read_text("utf-8").startswith("<?xml")
