"""The best setting as a file that ``harden --config`` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomli_w

from lsa_onnx.files import write_atomically
from lsa_onnx.report.text import visible
from lsa_trainer.tuning import words
from lsa_trainer.tuning.document import Tuning

if TYPE_CHECKING:
    import os


def write_best(tuning: Tuning, path: str | os.PathLike[str]) -> None:
    """Write the options of the best trial for the whole data; its first lines say what they come from.

    Raises:
        DataError: The file cannot be written.
    """
    best = tuning.trial(tuning.best)
    told = [
        f"trial {best.name} of a search with lsa-onnx {tuning.tool_version}, {tuning.statement}",
        f"{words.score_name(tuning)}: {words.score_text(best.score, tuning.score)}",
        words.verdict(tuning),
    ]
    head = "".join(f"# {visible(line)}\n" for line in told)
    write_atomically(path, (head + tomli_w.dumps(tuning.config)).encode("utf-8"))
