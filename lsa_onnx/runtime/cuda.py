"""Whether CUDA really works here, found out once and without noise.

``onnxruntime-gpu`` lists ``CUDAExecutionProvider`` as available even where no CUDA library is
installed; a session then writes C++ log lines to stderr and runs on the CPU. So the driver is asked
first, then a one-node model is tried with all output captured, and what the runtime says is turned
into one line.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import platform
import re
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CUDA_PROVIDER = "CUDAExecutionProvider"

_NOT_FOUND = re.compile(r"([\w.+-]+\.so[\w.]*): cannot open shared object file")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_LOG_PREFIX = re.compile(r"^.*?\[[EWF]:onnxruntime:[^\]]*\]\s*", re.MULTILINE)


@dataclass(frozen=True)
class CudaProblem:
    """Why CUDA cannot be used and what to do about it, each a clause of one line."""

    what: str
    remedy: str


@dataclass(frozen=True)
class Driver:
    """What the NVIDIA driver answers: its number of devices, and why if there is none."""

    devices: int
    problem: str | None


def cuda_provider(index: int) -> tuple[str, dict[str, Any]]:
    """The CUDA provider with its options, as onnxruntime takes it, for device ``index``.

    TF32 is off: it keeps 10 bits of the mantissa, and a scan compares small differences.
    """
    return CUDA_PROVIDER, {"device_id": index, "use_tf32": 0}


@functools.cache
def cuda_problem(index: int) -> CudaProblem | None:
    """Why CUDA device ``index`` cannot be used, or ``None`` where it works; tried once per process."""
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        what = f"the installed onnxruntime {onnxruntime.__version__} has no CUDA provider"
        return CudaProblem(what, _wheel_remedy())
    driver = ask_driver()
    if driver.problem is not None:
        missing = _missing_libraries(try_session(index) or "")
        also = f", nor is {missing[0]} (CUDA libraries)" if missing else ""
        return CudaProblem(driver.problem + also, "it needs an NVIDIA GPU and driver")
    if index >= driver.devices:
        what = f"there is no CUDA device {index}, this machine has {driver.devices}"
        return CudaProblem(what, f"the last one is cuda:{driver.devices - 1}")
    log = try_session(index)
    return None if log is None else CudaProblem(_explain(log), _library_remedy())


def ask_driver() -> Driver:
    """Ask the NVIDIA driver itself, which needs no CUDA library and prints nothing."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return Driver(0, f"{library} (NVIDIA driver) is not found")
    count = ctypes.c_int(0)
    status = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if status != 0:
        return Driver(0, f"the NVIDIA driver finds no device (CUDA error {status})")
    if count.value == 0:
        return Driver(0, "the NVIDIA driver shows no device (is CUDA_VISIBLE_DEVICES empty?)")
    return Driver(count.value, None)


def try_session(index: int) -> str | None:
    """Run a one-node model on CUDA device ``index``: ``None`` if that worked, else the log.

    The provider library is not opened by hand first. While it loads it asks for the host object
    (``Provider_GetHost``) that onnxruntime sets just before; opened earlier it would keep an empty
    one for the life of the process.
    """
    with _captured_output() as captured:
        try:
            ran_on_cuda = _runs_on_cuda(index)
        except Exception as error:  # noqa: BLE001 - whatever it raises means that CUDA does not work
            ran_on_cuda = False
            captured.write(f"{error}\n")
    return None if ran_on_cuda else captured.getvalue()


def _runs_on_cuda(index: int) -> bool:
    import numpy as np
    import onnxruntime

    # Libraries installed by pip lie outside the loader's search path until they are opened by hand.
    onnxruntime.preload_dlls()
    session = onnxruntime.InferenceSession(
        _tiny_model(), providers=[cuda_provider(index)], enable_fallback=0
    )
    if session.get_providers()[0] != CUDA_PROVIDER:
        return False
    # cuDNN is opened only when a convolution runs.
    session.run(None, {"x": np.ones((1, 1, 2, 3), np.float32)})
    return True


def _tiny_model() -> bytes:
    """A 1x1 convolution, opset 13, which every supported onnxruntime reads."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 1, 1], [1.0])],
    )
    opset = helper.make_opsetid("", 13)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=7)
    serialized: bytes = model.SerializeToString()
    return serialized


def _missing_libraries(log: str) -> list[str]:
    """The shared libraries that the loader did not find, in the order of the log."""
    return list(dict.fromkeys(_NOT_FOUND.findall(log)))


def _wheel_remedy() -> str:
    machine = (sys.platform, platform.machine())
    if machine not in {("linux", "x86_64"), ("win32", "AMD64")}:
        return f"there is no onnxruntime-gpu for {' '.join(machine)}"
    return "run: pip uninstall -y onnxruntime && pip install onnxruntime-gpu"


def _library_remedy() -> str:
    """How to install the libraries that the runtime was built for."""
    import onnxruntime

    needs = f"CUDA {onnxruntime.cuda_version} and cuDNN 9"
    return f"install {needs} (pip install 'onnxruntime-gpu[cuda,cudnn]')"


def _explain(log: str) -> str:
    """One clause out of the runtime's log: the missing libraries, or else its first statement."""
    missing = _missing_libraries(log)
    if missing:
        return f"CUDA does not work, not found: {', '.join(missing)}"
    plain = _LOG_PREFIX.sub("", _COLOUR.sub("", log))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    statement = lines[0][:200] if lines else "onnxruntime chose the CPU without a word"
    return f"CUDA does not work ({statement})"


@contextlib.contextmanager
def _captured_output() -> Iterator[io.StringIO]:
    """Collect what Python and C++ code write to stdout and stderr; nothing reaches the terminal."""
    captured = io.StringIO()
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        for descriptor in (1, 2):
            stack.enter_context(_redirected(descriptor, file.fileno()))
        stack.enter_context(contextlib.redirect_stdout(captured))
        stack.enter_context(contextlib.redirect_stderr(captured))
        yield captured
        file.seek(0)
        captured.write(file.read().decode(errors="replace"))


@contextlib.contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    """Point a file descriptor of this process at ``target``; a closed one stays closed."""
    try:
        saved = os.dup(descriptor)
    except OSError:
        yield
        return
    try:
        os.dup2(target, descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
