"""What a check does, step by step, and the words by which its two processes tell each other of it."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """A step; the value completes "ended while ..."."""

    READING = "the file was read"
    CHECKER = "onnx.checker looked at it"
    SHAPES = "onnx inferred its shapes"
    LOADING = "ONNX Runtime loaded it"
    LAYERS = "its layers were looked at"
    RUNNING = "ONNX Runtime ran it on zeros"


# Words that begin a line from the child: a stage begins, the model has so many bytes with its weights, memory
# ran out, all is done.
BEGIN = "begin"
SIZE = "size"
EXHAUSTED = "exhausted"
DONE = "done"

# Exit code of the child after an error of its own, whose traceback is on its standard error.
DEFECT = 70
