"""``lsa-onnx evaluate``: what goes where, and what the document says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import numpy as np

from lsa_onnx.report import load_schema
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
        "evaluate", model, "--data", data, "--eps-list", "0.5", "--save-adversarial", kept, *common
    )
    again = cli("evaluate", model, "--data", kept, "--x-key", "x_adv", "--y-key", "y",
                "--eps-list", "0", *common)  # fmt: skip
    (attacked,) = json.loads(first.out)["results"]
    assert attacked["robust_accuracy"] < 0.75
    assert json.loads(again.out)["clean_accuracy"] == attacked["robust_accuracy"]
