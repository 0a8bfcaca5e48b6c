"""The hook for pre-commit: what its files say, and the script that it runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import lsa_onnx
from tests.examples.programs import EXAMPLES, ROOT, Ran, command, furnish, run

SCRIPT = EXAMPLES / "pre-commit/scan-changed.sh"
FAST = ["--data", "images.npz", "--samples", "20", "--attack", "fgsm", "--no-check"]


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def hook(folder: Path, *words: str) -> Ran:
    return run(folder, "bash", SCRIPT, *words)


def stubbed(folder: Path, script: str) -> Path:
    (folder / "bin").mkdir()
    command(folder, "lsa-onnx", f'printf "%s\\n" "$@" . >>told; {script}')
    return folder


def test_the_hook_is_the_script_and_takes_models() -> None:
    (described,) = parsed(ROOT / ".pre-commit-hooks.yaml")
    assert ROOT / described["entry"] == SCRIPT
    assert described["language"] == "script"
    assert SCRIPT.stat().st_mode & 0o111
    assert [bool(re.search(described["files"], name)) for name in ("a/b.onnx", "a.onnx.json")] == [
        True,
        False,
    ]


def test_the_example_uses_the_hook_and_ends_its_options() -> None:
    (described,) = parsed(ROOT / ".pre-commit-hooks.yaml")
    (repository,) = parsed(EXAMPLES / "pre-commit/.pre-commit-config.yaml")["repos"]
    (used,) = repository["hooks"]
    assert used["id"] == described["id"]
    assert used["args"][-1] == "--"


def test_models_are_held_to_their_baselines(tmp_path: Path) -> None:
    furnish(tmp_path)
    shutil.copy(tmp_path / "model.onnx", tmp_path / "other.onnx")
    model, data = tmp_path / "model.onnx", tmp_path / "images.npz"
    report = lsa_onnx.scan(model, data=data, samples=20, perturbations="fgsm")
    report.save(tmp_path / "model.onnx.baseline.json")
    # The first fails no less in its baseline; the other has none.
    ran = hook(tmp_path, *FAST, "--fail-on", "mvl>0", "--", "model.onnx", "other.onnx")
    assert ran.returncode == 1
    assert ran.stdout == "model.onnx: passed\nother.onnx: exit code 1\n"
    assert "mvl>0" in ran.stderr


def test_bad_options_end_with_their_code(tmp_path: Path) -> None:
    ran = hook(furnish(tmp_path), *FAST, "--fail-on", "mvl>>0", "--", "model.onnx")
    assert (ran.returncode, ran.stdout) == (2, "model.onnx: exit code 2\n")
    assert "mvl>>0" in ran.stderr


def test_words_reach_the_command_line_as_they_are(tmp_path: Path) -> None:
    folder = stubbed(tmp_path, "exit 0")
    (folder / "b c.onnx.baseline.json").write_text("{}", encoding="utf-8")
    ran = hook(folder, "--layers", "re:a b*", "--", "-a.onnx", "b c.onnx")
    assert ran.returncode == 0, ran.stderr
    first = ["scan", "--quiet", "--layers", "re:a b*", "--", "-a.onnx", "."]
    second = ["scan", "--quiet", "--layers", "re:a b*", "--baseline", "b c.onnx.baseline.json"]
    told = (folder / "told").read_text("utf-8").splitlines()
    assert told == [*first, *second, "--", "b c.onnx", "."]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ('case "$*" in *a.onnx) exit 1;; esac', 1),
        ('case "$*" in *a.onnx) exit 1;; *b.onnx) exit 5;; esac', 5),
    ],
)
def test_the_largest_code_counts_and_every_model_is_scanned(
    script: str, code: int, tmp_path: Path
) -> None:
    ran = hook(stubbed(tmp_path, script), "--", "a.onnx", "b.onnx", "c.onnx")
    assert ran.returncode == code
    assert (tmp_path / "told").read_text("utf-8").count("--quiet") == 3


def test_without_models_nothing_is_scanned(tmp_path: Path) -> None:
    ran = hook(stubbed(tmp_path, "exit 9"), "--samples", "3", "--")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_options_must_be_ended(tmp_path: Path) -> None:
    ran = hook(stubbed(tmp_path, "exit 0"), "--samples", "3", "model.onnx")
    assert ran.returncode == 2
    assert "no -- before the models" in ran.stderr
    assert not (tmp_path / "told").exists()


def test_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("bash", "dirname"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    ran = run(tmp_path, "bash", SCRIPT, "--", "model.onnx", PATH=str(tmp_path / "bin"))
    assert ran.returncode == 2
    assert "run: pip install lsa-onnx" in ran.stderr
