"""The process that opens a model first. It tells of its steps in lines on what was its standard output.

An error that Python can catch is no finding: whoever asked meets it again and says it in words of their own.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import onnx

from lsa_onnx.checking.limits import Limits, available_bytes
from lsa_onnx.checking.stages import BEGIN, DEFECT, DONE, EXHAUSTED, SIZE, Stage
from lsa_onnx.model import Model, load_model
from lsa_onnx.rewrite.graph import dimensions, true_inputs
from lsa_onnx.runtime.devices import CPU_PROVIDER, Device, thread_count
from lsa_onnx.runtime.inspection import survey
from lsa_onnx.runtime.memory import tensor_bytes
from lsa_onnx.runtime.session import Session

if sys.platform != "win32":
    import resource

# C++'s words for a lack of memory, and ONNX Runtime's, in errors of other classes.
_NO_MEMORY = re.compile(r"bad_alloc|bad allocation|[Ff]ailed to allocate|[Uu]nable to allocate")
# What is left to a child whose parent was killed, in processor time over wall-clock time.
_ORPHAN_FACTOR = 2


class _Exhausted(Exception):
    """Memory ran out, whatever class of error Python was given."""


def main() -> None:
    """Wait for a request on standard input, a line of JSON, and do the check; none is made at its end."""
    line = sys.stdin.readline()
    if not line:
        return
    request = json.loads(line)
    channel = _open_channel()
    limits = Limits(**request["limits"])
    check = _Check(channel, limits, tuple(Path(each) for each in request["libraries"]))
    code = 0
    try:
        with suppress(_Exhausted):
            check.run(Path(request["path"]))
            check.tell(DONE)
    except Exception:  # noqa: BLE001 - not the model's fault, and told apart from it by the code
        traceback.print_exc()
        code = DEFECT
    channel.flush()
    sys.stderr.flush()
    # What C++ leaves behind after a hostile file may not survive a tidy end.
    os._exit(code)


def _open_channel() -> TextIO:
    """A copy of standard output; that itself, and standard input, lead nowhere from here on."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nowhere, descriptor)
    return channel


class _Check:
    """One check. It ends early where the file is refused in order."""

    def __init__(self, channel: TextIO, limits: Limits, libraries: tuple[Path, ...]) -> None:
        self._channel = channel
        self._limits = limits
        self._device = Device("cpu", 0, CPU_PROVIDER, libraries=libraries)
        self._size_bytes = 0
        # Asked once: what the check itself takes is missing from it later.
        self._available = available_bytes()

    def tell(self, *words: object) -> None:
        """Write a line."""
        self._channel.write(" ".join(map(str, words)) + "\n")

    def run(self, path: Path) -> None:
        """All stages.

        Raises:
            _Exhausted: Memory ran out.
        """
        self._grow(path.stat().st_size if path.is_file() else 0)
        loaded: Model | None = self._attempt(Stage.READING, lambda: load_model(path))
        if loaded is None:
            return
        self._grow(sum(each.size_bytes for each in loaded.sidecars))
        self._attempt(Stage.CHECKER, lambda: onnx.checker.check_model(str(path)))
        self._attempt(Stage.SHAPES, lambda: _infer_shapes(loaded.proto))
        session = self._attempt(Stage.LOADING, lambda: Session(path, self._device))
        if session is not None:
            self._attempt(Stage.LAYERS, lambda: _look_at(loaded, self._device))
            self._attempt(Stage.RUNNING, lambda: session.run(_zeros(loaded.proto.graph)))

    @property
    def _memory(self) -> int:
        return self._limits.memory_for(self._size_bytes, self._available)

    @property
    def _seconds(self) -> float:
        return self._limits.seconds_for(self._size_bytes)

    def _grow(self, size_bytes: int) -> None:
        """Allow for a model that is larger by so much."""
        self._size_bytes += size_bytes
        self.tell(SIZE, self._size_bytes)
        _bound_process(self._seconds, self._memory)

    def _attempt(self, stage: Stage, act: Callable[[], Any]) -> Any:
        """The result, ``None`` after an error."""
        self.tell(BEGIN, stage.name)
        try:
            return act()
        except Exception as error:
            if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
                self.tell(EXHAUSTED, self._memory)
                raise _Exhausted from error
            return None


def _infer_shapes(model: onnx.ModelProto) -> None:
    onnx.shape_inference.infer_shapes(model, data_prop=True)


def _look_at(loaded: Model, device: Device) -> None:
    """What a scan infers besides: what is in bodies, and the sizes of everything for one sample."""
    survey(loaded.proto, loaded.folder, device)
    tensor_bytes(
        loaded.proto, {value.name: _shape(value) for value in true_inputs(loaded.proto.graph)}
    )


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    """With 1 for dimensions that are free."""
    return [d if isinstance(d, int) else 1 for d in dimensions(value) or []]


def _zeros(graph: onnx.GraphProto) -> dict[str, Any]:
    """What the model takes, all zeros or empty texts; dimensions that are free are 1."""
    feeds = {}
    for value in true_inputs(graph):
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = np.full(_shape(value), "" if dtype.hasobject else 0, dtype)
    return feeds


def _bound_process(seconds: float, memory_bytes: int) -> None:
    """Bound memory and, for a child whose parent was killed, time; leave no core file."""
    if sys.platform == "win32":
        return
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_CPU, int(_ORPHAN_FACTOR * seconds * thread_count()) + 1)
    # Address space would not do: allocators and threads reserve far more than they use, and weights are
    # mapped.
    _bound(resource.RLIMIT_DATA, memory_bytes)


def _bound(kind: int, value: int) -> None:
    """Set the soft limit, which may be raised again, as far as the hard one allows."""
    _, hard = resource.getrlimit(kind)
    soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (soft, hard))
