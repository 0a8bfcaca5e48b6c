"""``--perturb-at``: an inner tensor from the command line, and where it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import graphs, tokens
from tests.cli.command_line import Cli

QUICK = ("--device", "cpu", "--attack", "pgd", "--steps", 2)


@pytest.fixture
def words(tmp_path: Path) -> tuple[Path, str, Path]:
    """A model of token ids, and samples for it."""
    ids, mask = tokens.tokens(0, 20)
    np.savez(tmp_path / "ids.npz", ids=ids, mask=mask, y=ids[:, 0] % 3)
    model = graphs.save(tokens.attention_net(), tmp_path / "words.onnx")
    return model, "--data", tmp_path / "ids.npz"


@pytest.mark.parametrize("command", ["scan", "evaluate"])
def test_ids_need_no_option(cli: Cli, words: tuple[Path, str, Path], command: str) -> None:
    done = cli(command, *words, *QUICK, "--json", "-")
    assert done.code == 0, done.err
    assert json.loads(done.out)["input"]["name"] == "emb"


def test_a_tensor_of_an_image_classifier(cli: Cli, model: Path, data: Path) -> None:
    done = cli("scan", model, "--data", data, *QUICK, "--perturb-at", "relu", "--json", "-")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["input"]["name"] == "relu"
    assert document["input"]["range"][0] == 0
    none = cli("scan", model, "--data", data, *QUICK, "--perturb-at", "rely")
    assert none.code == 3
    assert "cannot perturb 'rely': no node of the main graph" in none.line


def test_training_does_not_go_through_it(cli: Cli, words: tuple[Path, str, Path]) -> None:
    done = cli("harden", *words, "--device", "cpu")
    assert (done.code, done.out) == (2, "")
    assert "perturbed is the embedding 'emb' of the ids 'ids', not the ids, and" in done.line
    assert "cannot be trained through it" in done.line


def test_the_doctor_knows(cli: Cli, words: tuple[Path, str, Path]) -> None:
    done = cli("doctor", words[0])
    assert done.code == 0, done.err
    told = " ".join(done.out.split())
    assert "Input ids N×" in told
    assert "cannot be trained through it" in told
