"""Files that are of no use, and what every refusal has in common."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests import graphs
from tests.cli.command_line import Outcome

# A clause that tells what to do: a verb in the imperative, what is accepted, or a command that helps.
_VERBS = (
    "give|use|check|choose|create|name|free|export|install|allow|declare|draw|lower|make|add|remove|"
    "save|leave out|scale|try|Try|see"
)
REMEDY = re.compile(
    rf"(?:[;:?.]|, or) (?:(?:{_VERBS}) |accepted are|did you mean|it takes |`lsa-onnx [a-z]+` )"
)
EARLIER = "an earlier report\n"


def assert_one_line(outcome: Outcome, code: int, *named: str) -> None:
    """One line on stderr that names each of ``named`` and a remedy; nothing on stdout."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert outcome.line.startswith("lsa-onnx: ")
    assert "Traceback" not in outcome.err
    for text in named:
        assert text in outcome.line
    assert REMEDY.search(outcome.line), outcome.line
    assert Path("report.json").read_text(encoding="utf-8") == EARLIER


def image_folder(folder: Path) -> Path:
    """``folder`` with a model of 3×5×7 images, 12 samples with labels, other models, and broken files."""
    proto = graphs.conv_net()
    graphs.save(proto, folder / "model.onnx")
    whole = proto.SerializeToString()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (folder / "text.onnx").write_text("this is no model\n", encoding="utf-8")
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "nothing").mkdir()
    x = graphs.samples(0, 12, 3, 5, 7)
    y = graphs.run(proto, {"x": x})["y"].argmax(axis=1)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "shape.npz", x=x[:, :, :4], y=y)
    np.savez(folder / "nan.npz", x=np.where(x > 0.99, np.nan, x), y=y)
    np.savez(folder / "range.npz", x=x * 300, y=y)
    np.savez(folder / "few.npz", x=x, y=y[:11])
    np.savez(folder / "other.npz", x=x, y=y + 6)
    np.save(folder / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    graphs.save(graphs.two_input_net(), folder / "two.onnx")
    graphs.save(graphs.elu_mlp(), folder / "regressor.onnx")
    rounds = graphs.activated([graphs.node("Round", ["h"], ["a"])])
    graphs.save(rounds, folder / "rounds.onnx")
    np.savez(folder / "a.npz", a=graphs.samples(1, 12, 5))
    np.save(folder / "b.npy", graphs.samples(2, 12, 3))
    np.save(folder / "b5.npy", graphs.samples(2, 5, 3))
    np.save(folder / "b4.npy", graphs.samples(2, 12, 4))
    np.save(folder / "labels.npy", y[:5])
    np.save(folder / "wrong.npy", (y + 1) % 6)
    np.save(folder / "right.npy", y)
    (folder / "report.json").write_text(EARLIER, encoding="utf-8")
    return folder
