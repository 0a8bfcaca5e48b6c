"""What fuzzing has found so far, and what was done about it: a part of ``docs/fuzzing.md``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A defect that is mended.

    Attributes:
        input: What a file had to hold.
        before: What the command did.
        now: What it does.
    """

    input: str
    before: str
    now: str


_REFUSED = "refused in one line"

FOUND: tuple[Found, ...] = (
    Found("a local function that calls itself, or two of one name", "a traceback", _REFUSED),
    Found(
        "an input or output of an element type that ONNX has no name for", "a traceback", _REFUSED
    ),
    Found("a constant whose data do not fit its shape", "a traceback", _REFUSED),
    Found("a length of external data that is no number (`0x10`)", "a traceback", _REFUSED),
    Found("a Loop with two bodies", "a traceback", _REFUSED),
    Found("a Resize whose scales are a matrix", "a traceback", _REFUSED),
    Found("an operator of a domain that the model does not import", "a traceback", _REFUSED),
    Found("the head of an npy file with an open bracket", "a traceback", _REFUSED),
    Found("an npy or npz with a negative size, or damaged LZMA", "a traceback", _REFUSED),
    Found(
        "a tar whose sizes no file has; a zip entry without a name", "a traceback", "passed over"
    ),
    Found("a node with too few or too many inputs, or none of outputs", "a traceback", _REFUSED),
    Found(
        "versions beyond 32 bits; domains and locations that are not UTF-8", "a traceback", _REFUSED
    ),
    Found("external data without a length, small, with more behind it", "a traceback", "read"),
    Found("an output without a type beside the scores", "a traceback", "passed over"),
    Found("a batch fixed to 16,777,217 samples", "minutes", _REFUSED),
    Found("a vector of 2⁵³ elements, declared in a branch", "24 GiB of memory", "read"),
    Found("ranges and learning rates beyond single precision", "a traceback, warnings", _REFUSED),
    Found("a held value, mean or deviation beyond float32", "numpy's warnings on stderr", _REFUSED),
    Found("shapes that make shape inference crash", "the process died", "exit code 5"),
    Found("one that crashes when its batch is given a number", "the process died", "exit code 5"),
    Found("a Loop without an end", "it went on", "exit code 5 after two minutes"),
)
