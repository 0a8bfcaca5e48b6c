from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from lsa_onnx.errors import DataError, DeviceError
from lsa_onnx.runtime import cuda
from lsa_onnx.runtime.devices import (
    CPU_PROVIDER,
    Device,
    both_wheels_installed,
    resolve_device,
    thread_count,
    usable_providers,
)

MISSING_LOG = (
    "\x1b[0;93m2026-01-02 03:04:05.678 [W:onnxruntime:Default, onnxruntime_pybind_state.cc:856 operator()] "
    "No registered plugin EP device found\x1b[m\n"
    "Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file: No such file\n"
    "[E:onnxruntime:Default, provider_bridge_ort.cc:2458 operator()] Failed to load library "
    "libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared object file\n"
    "Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file: No such file\n"
)


@pytest.fixture(autouse=True)
def fresh_probe() -> Iterator[None]:
    cuda.cuda_problem.cache_clear()
    yield
    cuda.cuda_problem.cache_clear()


@pytest.fixture
def gpu_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = ["TensorrtExecutionProvider", cuda.CUDA_PROVIDER, CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(
        importlib.metadata, "version", installed_versions({"onnxruntime-gpu": "1.31.1"})
    )


@pytest.fixture
def two_devices(gpu_wheel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "ask_driver", lambda: cuda.Driver(2, None))
    monkeypatch.setattr(cuda, "try_session", lambda index: None)


def installed_versions(versions: dict[str, str]) -> Any:
    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    return version


def fake_driver(status: int, count: int) -> Any:
    def device_count(result: Any) -> int:
        ctypes.cast(result, ctypes.POINTER(ctypes.c_int))[0] = count
        return 0

    return SimpleNamespace(cuInit=lambda flags: status, cuDeviceGetCount=device_count)


@pytest.mark.parametrize(
    "text", ["gpu", "CUDA", "cuda:x", "cuda:-1", "cuda:", "cuda:1\n", "cpu:0", ""]
)
def test_unknown_text_names_it_and_what_is_accepted(text: str) -> None:
    with pytest.raises(DataError) as caught:
        resolve_device(text)
    assert f"--device {text!r} is not known; use auto, cpu, cuda or cuda:N" in str(caught.value)


def test_cpu_needs_no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "try_session", lambda index: pytest.fail("the CPU was asked for"))
    device = resolve_device("cpu")
    assert device == Device("cpu", 0, CPU_PROVIDER, note=None)
    assert (device.name, device.providers) == ("cpu", [CPU_PROVIDER])


def test_auto_gives_a_device_that_runs_and_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    device = resolve_device("auto")
    session = onnxruntime.InferenceSession(cuda._tiny_model(), providers=device.providers)
    result = session.run(None, {"x": np.full((1, 1, 2, 3), 7, np.float32)})[0]
    assert session.get_providers()[0] == device.provider
    assert (device.note is None) == (device.kind == "cuda")
    np.testing.assert_array_equal(result, np.full((1, 1, 2, 3), 7, np.float32))
    assert capfd.readouterr() == ("", "")


def test_cuda_without_a_device_is_one_clean_line() -> None:
    code = (
        "from lsa_onnx.errors import DeviceError\n"
        "from lsa_onnx.runtime.devices import resolve_device\n"
        "try: resolve_device('cuda')\n"
        "except DeviceError as error: print(error.exit_code, error)\n"
    )
    # An empty list hides every GPU, so that this holds on machines with one too.
    env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("4 --device cuda: ")
    assert ran.stdout.endswith("use --device cpu\n")
    assert ran.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "index"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)]
)
def test_working_cuda(two_devices: None, text: str, index: int) -> None:
    device = resolve_device(text)
    assert device == Device("cuda", index, "CUDAExecutionProvider", note=None)
    assert device.name == f"cuda:{index}"
    assert device.providers == [
        ("CUDAExecutionProvider", {"device_id": index, "use_tf32": 0}),
        "CPUExecutionProvider",
    ]


def test_index_beyond_the_last_device(two_devices: None) -> None:
    with pytest.raises(DeviceError, match=r"--device cuda:2: .* has 2; the last one is cuda:1"):
        resolve_device("cuda:2")


def test_missing_libraries_are_named_with_the_remedy(
    two_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "try_session", lambda index: MISSING_LOG)
    with pytest.raises(DeviceError) as caught:
        resolve_device("cuda:1")
    assert str(caught.value) == (
        "--device cuda:1: CUDA does not work, not found: libcublas.so.13, libcublasLt.so.13;"
        " install CUDA 13.0 and cuDNN 9 (pip install 'onnxruntime-gpu[cuda,cudnn]'),"
        " or use --device cpu"
    )
    note = resolve_device("auto").note
    assert note == (
        "running on the CPU: CUDA does not work, not found: libcublas.so.13, libcublasLt.so.13"
    )


def test_another_failure_is_told_in_the_words_of_the_runtime(
    two_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = "\n\x1b[1;31m2026-01-02 [E:onnxruntime:, cuda_call.cc:1] CUDA failure 2: out of memory\x1b[m\n"
    monkeypatch.setattr(cuda, "try_session", lambda index: log)
    with pytest.raises(DeviceError, match=r"does not work \(CUDA failure 2: out of memory\); "):
        resolve_device("cuda")
    cuda.cuda_problem.cache_clear()
    monkeypatch.setattr(cuda, "try_session", lambda index: "")
    with pytest.raises(DeviceError, match=r"\(onnxruntime chose the CPU without a word\)"):
        resolve_device("cuda")


def test_missing_driver_and_libraries_are_both_named(
    gpu_wheel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cuda, "try_session", lambda index: MISSING_LOG)
    with pytest.raises(DeviceError, match=r"libcuda\.so\.1 .* libcublas\.so\.13 .* NVIDIA GPU"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("status", "count", "expected"),
    [
        (0, 3, cuda.Driver(3, None)),
        (
            0,
            0,
            cuda.Driver(0, "the NVIDIA driver shows no device (is CUDA_VISIBLE_DEVICES empty?)"),
        ),
        (100, 0, cuda.Driver(0, "the NVIDIA driver finds no device (CUDA error 100)")),
    ],
)
def test_the_driver_is_asked(
    monkeypatch: pytest.MonkeyPatch, status: int, count: int, expected: cuda.Driver
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake_driver(status, count))
    assert cuda.ask_driver() == expected


@pytest.mark.parametrize(
    ("system", "machine", "remedy"),
    [
        ("linux", "x86_64", "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"),
        ("darwin", "arm64", "there is no onnxruntime-gpu for darwin arm64"),
    ],
)
def test_wheel_without_cuda(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, remedy: str
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU_PROVIDER])
    monkeypatch.setattr(
        importlib.metadata, "version", installed_versions({"onnxruntime": "1.32.0"})
    )
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    fact = f"the installed onnxruntime {onnxruntime.__version__} has no CUDA provider"
    assert resolve_device("auto").note == f"running on the CPU: {fact}"
    with pytest.raises(DeviceError) as caught:
        resolve_device("cuda")
    assert fact in str(caught.value)
    assert remedy in str(caught.value)


def test_both_wheels_come_first_among_the_remedies(
    two_devices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(importlib.metadata, "version", installed_versions(both))
    monkeypatch.setattr(cuda, "try_session", lambda index: MISSING_LOG)
    repair = both_wheels_installed()
    assert repair == (
        "pip uninstall -y onnxruntime onnxruntime-gpu"
        " && pip install --force-reinstall --no-deps onnxruntime-gpu==1.31.1"
    )
    with pytest.raises(DeviceError) as caught:
        resolve_device("cuda")
    assert f"both installed, run: {repair}" in str(caught.value)


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-gpu"])
def test_one_wheel_is_well(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", installed_versions({name: "1.31.1"}))
    assert both_wheels_installed() is None


def test_usable_providers(two_devices: None, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = {status.provider: status for status in usable_providers()}
    assert [status.usable for status in statuses.values()] == [False, True, True]
    assert statuses["TensorrtExecutionProvider"].problem == "not used by lsa-onnx"
    cuda.cuda_problem.cache_clear()
    monkeypatch.setattr(cuda, "try_session", lambda index: MISSING_LOG)
    broken = usable_providers()[1]
    assert not broken.usable
    assert "libcublasLt.so.13" in str(broken.problem)


class LoudSession:
    """Writes as the runtime does, from C++ and from Python, then runs on ``provider``."""

    provider = CPU_PROVIDER

    def __init__(self, model: bytes, **options: Any) -> None:
        os.write(2, b"from C++\n")
        os.write(1, b"to stdout\n")
        print("from Python")

    def get_providers(self) -> list[str]:
        return [self.provider]

    def run(self, outputs: None, feeds: dict[str, Any]) -> list[Any]:
        return list(feeds.values())


def test_trying_a_session_keeps_the_log_to_itself(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", LoudSession)
    log = cuda.try_session(0)
    assert log is not None
    for line in ("from C++\n", "to stdout\n", "from Python\n"):
        assert line in log
    assert capfd.readouterr() == ("", "")
    print("still there")
    assert capfd.readouterr() == ("still there\n", "")


def test_trying_a_session_succeeds_only_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", LoudSession)
    monkeypatch.setattr(LoudSession, "provider", cuda.CUDA_PROVIDER)
    assert cuda.try_session(1) is None


def test_a_runtime_that_raises_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(self: LoudSession, outputs: None, feeds: dict[str, Any]) -> list[Any]:
        raise RuntimeError("CUDNN_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(onnxruntime, "InferenceSession", LoudSession)
    monkeypatch.setattr(LoudSession, "provider", cuda.CUDA_PROVIDER)
    monkeypatch.setattr(LoudSession, "run", run)
    assert "CUDNN_STATUS_NOT_INITIALIZED" in str(cuda.try_session(0))


def test_threads_follow_the_affinity_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert thread_count() == 3


@pytest.mark.parametrize(("cpus", "threads"), [(6, 6), (None, 1)])
def test_threads_without_affinity(
    monkeypatch: pytest.MonkeyPatch, cpus: int | None, threads: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    assert thread_count() == threads
