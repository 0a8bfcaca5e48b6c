"""What files and variables say to commands: who wins, and how a run tells where its options came from."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lsa_cli.config import harden_options_of
from lsa_cli.settings import command_line
from tests.cli.command_line import Cli
from tests.cli.contexts import context

# From the one that wins to the one that gives way.
PLACES = ("flag", "own variable", "variable", "own table", "table")


@pytest.mark.parametrize(
    "given",
    [each for n in range(6) for each in itertools.combinations(PLACES, n)],
    ids=lambda given: " and ".join(given) or "nothing",
)
def test_who_wins(given: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seeds = {place: number for number, place in enumerate(PLACES, start=1)}
    table: dict[str, Any] = {"seed": seeds["table"]} if "table" in given else {}
    table |= {"scan": {"seed": seeds["own table"]}} if "own table" in given else {}
    table["evaluate"] = {"seed": 99}
    monkeypatch.setenv("LSA_ONNX_EVALUATE_SEED", "98")
    for place, name in (("variable", "LSA_ONNX_SEED"), ("own variable", "LSA_ONNX_SCAN_SEED")):
        if place in given:
            monkeypatch.setenv(name, str(seeds[place]))
    words = ["--seed", str(seeds["flag"])] if "flag" in given else []
    first = next((place for place in PLACES if place in given), None)
    expected = 0 if first is None else seeds[first]
    assert context("scan", ["m.onnx", *words], table, tmp_path).params["seed"] == expected


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LSA_ONNX_SCAN_SEED", "")
    assert context("scan", ["m.onnx"], {"seed": 4}, tmp_path).params["seed"] == 4


def test_variables_are_read_like_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSA_ONNX_RANGE", "0,255")
    monkeypatch.setenv("LSA_ONNX_ATTACK", "pgd fgsm=2/255")
    monkeypatch.setenv("LSA_ONNX_RESIZE", "yes")
    monkeypatch.setenv("LSA_ONNX_VERBOSE", "2")
    monkeypatch.setenv("LSA_ONNX_MAX_MEMORY", "1GiB")
    found = context("scan", ["m.onnx"]).params
    assert found["range_"] == (0.0, 255.0)
    assert found["perturbations"] == ("pgd", "fgsm=2/255")
    assert (found["resize"], found["verbose"], found["max_memory_bytes"]) == (True, True, 1 << 30)


def test_variables_do_not_load_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSA_ONNX_CUSTOM_OPS", "evil.so")
    monkeypatch.setenv("LSA_ONNX_SCAN_NO_CHECK", "1")
    found = context("scan", ["m.onnx"])
    assert found.params["custom_ops"] == ()


def test_a_saved_run_is_repeated_whatever_lies_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = tmp_path / "run.toml"
    saved.write_text('data = "x.npz"\nepochs = 3\n', "utf-8")
    monkeypatch.setenv("LSA_ONNX_EPOCHS", "7")
    around = {"samples": 11, "harden": {"lr": 0.5}}
    for config in (["--config", str(saved)], [f"--config={saved}"]):
        ctx = context("harden", ["m.onnx", *config], around, tmp_path)
        options = harden_options_of(ctx, ctx.params["config"])
        assert (options.epochs, options.samples, options.lr) == (3, None, None)
    ctx = context("harden", ["m.onnx", "--data", "x.npz"], around, tmp_path)
    options = harden_options_of(ctx, None)
    assert (options.epochs, options.samples, options.lr) == (7, 11, 0.5)


def test_the_command_line_of_a_run_holds_what_came_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lsa-onnx", "scan", "m.onnx", "--eps", "3%"])
    monkeypatch.setenv("LSA_ONNX_LAYERS", "all op:Relu")
    table = {"range": [0, 255], "resize": True, "eps": 0.1, "quiet": False}
    with context("scan", ["m.onnx", "--eps", "3%"], table):
        told = command_line()
    assert told[:2] == ("lsa-onnx", "scan")
    assert told[-3:] == ("m.onnx", "--eps", "3%")
    assert sorted(told[2:-3]) == sorted(
        ["--range", "0,255", "--resize", "--layers", "all", "--layers", "op:Relu"]
    )
    # The same words alone give the same options.
    monkeypatch.delenv("LSA_ONNX_LAYERS")
    again = context("scan", list(told[2:])).params
    assert again["layers"] == ("all", "op:Relu")
    assert (again["range_"], again["resize"], again["eps"]) == ((0.0, 255.0), True, "3%")


def test_without_settings_the_command_line_is_what_was_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["lsa-onnx", "scan", "m.onnx"])
    assert command_line() == ("lsa-onnx", "scan", "m.onnx")
    with context("scan", ["m.onnx"]):
        assert command_line() == ("lsa-onnx", "scan", "m.onnx")


def test_a_scan_with_a_file(cli: Cli, model: Path, data: Path, here: Path) -> None:
    (here / "lsa-onnx.toml").write_text(
        f'device = "cpu"\ndata = "{data.name}"\nattack = "fgsm"\n[scan]\njson = "out.json"\n',
        "utf-8",
    )
    done = cli("scan", model.name)
    assert done.code == 0, done.err
    report = json.loads((here / "out.json").read_text("utf-8"))
    assert [each["name"] for each in report["perturbations"]] == ["fgsm"]
    assert report["run"]["command"][:2] == ["lsa-onnx", "scan"]
    assert "--data" in report["run"]["command"]


def test_a_file_counts_like_flags_and_so_before_a_sidecar(
    cli: Cli, model: Path, here: Path
) -> None:
    model.with_suffix(".lsa.toml").write_text("[input]\nrange = [0.0, 2.0]\n", "utf-8")
    assert "0 to 2 (from sidecar)" in cli("doctor", model).out
    (here / "lsa-onnx.toml").write_text("range = [0, 255]\n", "utf-8")
    assert "0 to 255 (from flags)" in cli("doctor", model).out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("samples = 2.5", "'2.5' is not a valid integer (set by lsa-onnx.toml: samples)"),
        ("seed = -1", "--seed -1 is not usable; give a number of at least 0 (set by lsa-onnx.toml: seed)"),
        ("[scan]\nattack = ['pgd', 'pdg']", "attacks as NAME=EPS (set by lsa-onnx.toml: scan.attack)"),
        ("decision = 'may'", "(set by lsa-onnx.toml: decision). Try 'lsa-onnx scan --help'."),
        ("range = [1, 0]", "--range '1,0' is not usable;"),
    ],
)  # fmt: skip
def test_errors_end_with_who_set_the_value(
    cli: Cli, model: Path, here: Path, text: str, said: str
) -> None:
    (here / "lsa-onnx.toml").write_text(text, "utf-8")
    done = cli("scan", model.name)
    assert (done.code, done.out) == (2, "")
    assert said in done.line


def test_errors_name_the_variable(
    cli: Cli, model: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSA_ONNX_SCAN_SAMPLES", "many")
    done = cli("scan", model.name)
    assert done.code == 2
    assert "(set by LSA_ONNX_SCAN_SAMPLES)" in done.line
    # What a flag says is the user's own doing.
    assert "set by" not in cli("scan", model.name, "--samples", "few").line


def test_an_error_about_one_option_is_not_put_on_another(cli: Cli, model: Path, here: Path) -> None:
    (here / "lsa-onnx.toml").write_text('labels = "none"\nsplit = "x.npz"\n', "utf-8")
    for words in (["--perturbed", "x.npz"], ["--perturb-at", "none"], ["--perturb-at=none"]):
        done = cli("scan", model.name, *words)
        assert done.code in {2, 3}
        assert words[-1].rpartition("=")[2] in done.line
        assert "set by" not in done.line


def test_help_is_there_whatever_the_file_says(cli: Cli, here: Path) -> None:
    (here / "lsa-onnx.toml").write_text("no toml at all", "utf-8")
    assert cli("scan", "--help").code == 0
    assert cli("--help").code == 0
    done = cli("scan", "m.onnx")
    assert (done.code, done.out) == (2, "")
    assert "configuration file 'lsa-onnx.toml' is not TOML" in done.line
