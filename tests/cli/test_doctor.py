"""What ``lsa-onnx doctor`` says of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from lsa_cli import training
from tests import graphs
from tests.cli.command_line import Cli

if TYPE_CHECKING:
    import pytest


def answer(out: str) -> str:
    """All of the row on training, whatever lines it takes."""
    _, _, rest = out.partition("\n Training ")
    return " ".join(rest.split())


def test_a_model_that_can_be_trained(cli: Cli, model: Path) -> None:
    done = cli("doctor", model)
    assert (done.code, done.err) == (0, "")
    # 4·3·3·3 of the convolution, 6·60 and 6 of the Gemm.
    assert answer(done.out) == "yes: 474 of 474 weights (100%)"


def test_every_operator_without_a_translation_is_named(cli: Cli, tmp_path: Path) -> None:
    nodes = [
        graphs.node("SequenceConstruct", ["h"], ["s"]),
        graphs.node("SequenceAt", ["s", "zero"], ["a"]),
    ]
    proto = graphs.activated(nodes)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0), "zero"))
    done = cli("doctor", graphs.save(proto, tmp_path / "sequence.onnx"))
    assert done.code == 0, done.err
    said = answer(done.out)
    assert said.startswith("no: ")
    assert "SequenceConstruct" in said
    assert "SequenceAt" in said


def test_without_torch_it_says_what_to_install(
    cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == "torch" else object())
    done = cli("doctor", model)
    assert done.code == 0
    assert answer(done.out) == "needs torch: pip install 'lsa-onnx[train]'"
