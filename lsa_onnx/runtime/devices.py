"""Where a model runs: what ``--device`` means, and what this machine can offer."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lsa_onnx.errors import DataError, DeviceError
from lsa_onnx.runtime.cuda import CUDA_PROVIDER, CudaProblem, cuda_problem, cuda_provider

CPU_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True)
class Device:
    """A device that has been tried and works.

    ``index`` is the CUDA device number (0 for the CPU). ``note`` says, in one line, why ``auto``
    chose the CPU. ``libraries`` hold the custom operators that its sessions know.
    """

    kind: Literal["cpu", "cuda"]
    index: int
    provider: str
    note: str | None = None
    libraries: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The device as ``--device`` spells it: ``cpu`` or ``cuda:N``."""
        return self.kind if self.kind == "cpu" else f"cuda:{self.index}"

    @property
    def providers(self) -> list[str | tuple[str, dict[str, Any]]]:
        """The ``providers`` argument of ``onnxruntime.InferenceSession``, most wanted first.

        The CPU follows CUDA because the runtime places shape arithmetic there by design.
        """
        if self.kind == "cpu":
            return [CPU_PROVIDER]
        return [cuda_provider(self.index), CPU_PROVIDER]


@dataclass(frozen=True)
class ProviderStatus:
    """Whether an execution provider of the installed wheel works; ``problem`` says why not."""

    provider: str
    usable: bool
    problem: str | None


def resolve_device(text: str, libraries: Sequence[str | Path] = ()) -> Device:
    """The device that ``text`` asks for, tried and working.

    Args:
        text: ``auto`` (CUDA where it works, else the CPU with a note), ``cpu``, ``cuda`` or
            ``cuda:N``.
        libraries: Of custom operators; every session on the device runs their code.

    Raises:
        DataError: ``text`` is none of these, or a library is no file.
        DeviceError: CUDA was asked for and does not work, or has no device ``N``.
    """
    match = re.fullmatch(r"auto|cpu|cuda(?::([0-9]{1,4}))?", text)
    if match is None:
        accepted = "auto, cpu, cuda or cuda:N (N = 0, 1, ...)"
        raise DataError(f"--device {text!r} is not known; use {accepted}")
    device = Device("cpu", 0, CPU_PROVIDER, libraries=_found(libraries))
    if text == "cpu":
        return device
    index = int(match.group(1) or 0)
    problem = cuda_problem(index)
    if problem is None:
        return replace(device, kind="cuda", index=index, provider=CUDA_PROVIDER)
    if text == "auto":
        return replace(device, note=f"running on the CPU: {problem.what}")
    raise DeviceError(f"--device {text}: {problem.what}; {_remedy(problem)}, or use --device cpu")


def _found(libraries: Sequence[str | Path]) -> tuple[Path, ...]:
    """The libraries as absolute paths: a bare name would be looked for where the system keeps its own.

    Raises:
        DataError: One is no file.
    """
    for library in libraries:
        if not Path(library).is_file():
            raise DataError(
                f"--custom-ops {str(library)!r} is no file; give the path of a library of custom operators, "
                "such as ./libops.so"
            )
    return tuple(Path(library).resolve() for library in libraries)


def usable_providers() -> list[ProviderStatus]:
    """Every execution provider of the installed wheel, in its order, and whether it works here."""
    import onnxruntime

    return [_provider_status(provider) for provider in onnxruntime.get_available_providers()]


def both_wheels_installed() -> str | None:
    """The command that repairs an environment with both runtime wheels, ``None`` where all is well.

    ``onnxruntime`` and ``onnxruntime-gpu`` write the same files, so whichever came last has
    overwritten the other.
    """
    plain, gpu = _wheel_version("onnxruntime"), _wheel_version("onnxruntime-gpu")
    if plain is None or gpu is None:
        return None
    return (
        "pip uninstall -y onnxruntime onnxruntime-gpu"
        f" && pip install --force-reinstall --no-deps onnxruntime-gpu=={gpu}"
    )


class _Limit:
    """Of threads, where a process shares its machine with others; ``None`` for no limit."""

    threads: int | None = None


def limit_threads(threads: int | None) -> None:
    """Let sessions of this process that are opened from now on run at most ``threads`` threads."""
    _Limit.threads = threads


def thread_count() -> int:
    """How many threads to run with: the CPUs this process may use, perhaps fewer than exist."""
    if _Limit.threads is not None:
        return min(_Limit.threads, _cpus())
    return _cpus()


def _cpus() -> int:
    # Not every system has an affinity to ask for.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _provider_status(provider: str) -> ProviderStatus:
    if provider == CPU_PROVIDER:
        return ProviderStatus(provider, usable=True, problem=None)
    if provider != CUDA_PROVIDER:
        return ProviderStatus(provider, usable=False, problem="not used by lsa-onnx")
    problem = cuda_problem(0)
    return ProviderStatus(provider, problem is None, problem.what if problem else None)


def _remedy(problem: CudaProblem) -> str:
    """What to do next; two wheels on top of each other explain any symptom, so they come first."""
    repair = both_wheels_installed()
    if repair is None:
        return problem.remedy
    return f"onnxruntime and onnxruntime-gpu are both installed, run: {repair}"


def _wheel_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
