"""``lsa-onnx tune``: what is written, what is said, and when nothing is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lsa_trainer.tuning import plan, read_tuning
from tests import graphs
from tests.cli.command_line import Cli
from tests.cli.training import assert_refused
from tests.test_house import run_python
from tests.trainer import fragile

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = (
    "--device", "cpu", "--eps", "0.1", "--steps", 1, "--epochs", 1, "--batch-size", 32, "--validation", 16,
    "--validation-steps", 2, "--max-clean-drop", 1, "--verify-attack", "pgd", "--verify-steps", 3,
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    graphs.save(fragile.mlp(), tmp_path / "m.onnx")
    fragile.save_data(tmp_path / "train.npz", fragile.data(100))
    return tmp_path


@pytest.mark.slow
def test_from_a_search_to_a_hardened_file(cli: Cli, place: Path) -> None:
    words = ("--data", "train.npz", *QUICK, "--trials", 3, "--search", "gamma,layers")
    done = cli("tune", "m.onnx", *words, "--page", "p.md", "--json", "t.json")
    assert done.code == 0, done.err
    assert "chosen on 20 held-out training samples, never on test data" in done.out
    assert "plain adversarial training (gamma 0)" in done.out
    assert done.out.endswith("lsa-onnx harden m.onnx --config best.toml\n")
    assert [line for line in done.err.splitlines() if line.startswith("trial 002: gamma ")]
    assert "optuna" not in done.err.lower()
    assert "\x1b" not in done.out + done.err
    found = read_tuning("t.json")
    assert found.command[:2] == ["lsa-onnx", "tune"]
    assert Path("p.md").read_text("utf-8").startswith("# Tuning of m.onnx\n")
    assert read_tuning("best.toml.study/trials.json") == found
    config = ("--config", "best.toml", "--force", "-q", "-o", "hard.onnx")
    assert cli("harden", "m.onnx", *config).code == 0
    assert Path("hard.onnx").exists()
    again = cli("tune", "m.onnx", *words, "--json", "-", "-q")
    assert (again.code, again.err) == (0, "")
    assert [t["name"] for t in json.loads(again.out)["trials"]] == ["plain", "001", "002"]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("--search", "gama"), 2, "unknown choice to search 'gama'; did you mean 'gamma'?"),
        (("--seeds", "1,x"), 2, "'1,x' are no seeds; give whole numbers such as 0,1,2"),
        (("--score", "r&g"), 2, "--eps-list '' holds no 0"),
        (("--trials", "0"), 2, "--trials 0 is not usable"),
        (("--mvl", "r"), 2, "--mvl 'r' names the layers that --search layers looks for"),
        (("-o", "train.npz"), 2, "'train.npz' is an input of this run"),
        (("--page", "best.toml"), 2, "-o and --page are both 'best.toml'"),
        (("-o", "none/best.toml"), 2, "cannot write 'none/best.toml': its folder does not exist"),
    ],
)
def test_refusals(cli: Cli, place: Path, words: tuple[str, ...], code: int, named: str) -> None:
    done = cli("tune", "m.onnx", "--data", "train.npz", *QUICK, *words)
    assert_refused(done, code, named)
    assert sorted(path.name for path in place.iterdir()) == ["m.onnx", "train.npz"]


def test_without_optuna_there_is_one_line(
    cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "find_spec", lambda _: None)
    done = cli("tune", "m.onnx", "--data", "train.npz")
    assert_refused(done, 2, "tuning needs optuna", "pip install 'lsa-onnx[tune]'")


def test_help_lists_what_can_be_searched_under_its_own_heading(cli: Cli) -> None:
    done = cli("tune", "--help")
    assert done.code == 0
    assert (
        done.out.index("\nSearch:\n") < done.out.index("  --trials N") < done.out.index("\nData,")
    )
    assert done.out.count("--trials N") == 1
    for name in plan.SEARCHABLE:
        assert f"\n    {name} " in done.out


@pytest.mark.slow
def test_help_waits_for_neither_torch_nor_optuna() -> None:
    code = (
        "import sys, lsa_cli.commands.tune\n"
        "print(sorted({'torch', 'optuna', 'lightning_fabric'} & set(sys.modules)))\n"
    )
    ran = run_python("-W", "error", "-c", code)
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr
