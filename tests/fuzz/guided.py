"""Readers of files under a fuzzer that is guided by coverage, where atheris is installed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

# Cases whose files it starts from.
_CORPUS = 200
_MOST_BYTES = 1 << 16
# What is read → the kind of cases that hold such a file, and how its name begins.
TARGETS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "data": ("data", "data."),
        "labels": ("data", "labels"),
        "model": ("model", "model.onnx"),
        "report": ("report", "report.json"),
        "sidecar": ("sidecar", "model.lsa.toml"),
    }
)


def main(target: str, cases: int, seed: int) -> None:
    """Run ``cases`` inputs of one reader; the process ends with a traceback at the first defect.

    Args:
        target: One of ``TARGETS``.
        cases: How many.
        seed: Of the fuzzer.

    Raises:
        ImportError: atheris is not installed.
    """
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["lsa_onnx", "tomllib"]):
        for module in ("inputs", "inputs.sidecar", "model", "report.json_file"):
            import_module(f"lsa_onnx.{module}")
    # Whatever else imports the package comes after that.
    error: type[Exception] = import_module("lsa_onnx.errors").LsaError
    folder = Path(tempfile.mkdtemp(prefix="lsa-onnx-guided-"))
    write_corpus(folder / "corpus", target)
    path = folder / ("model.lsa.toml" if target == "sidecar" else "file")

    def one_input(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(error):
            _READERS[target](path)

    os.chdir(folder)
    flags = [
        f"-runs={cases}",
        f"-seed={seed or 1}",
        f"-max_len={_MOST_BYTES}",
        f"-artifact_prefix={folder}/",
    ]
    atheris.Setup([sys.argv[0], *flags, str(folder / "corpus")], one_input)
    atheris.Fuzz()


def write_corpus(folder: Path, target: str) -> None:
    """Files of ``target`` from the first cases, damaged or not, in a new folder."""
    make_case = import_module("tests.fuzz.kinds").make_case
    kind, beginning = TARGETS[target]
    folder.mkdir()
    for seed in range(_CORPUS):
        for name, content in make_case(kind, seed).files.items():
            if name.startswith(beginning) and len(content) <= _MOST_BYTES:
                (folder / str(seed)).write_bytes(content)


def _read_data(path: Path) -> None:
    from lsa_onnx.inputs import InputSpec, open_data

    data = open_data(path, InputSpec(), (3, 5, 7), samples=2)
    data.batch(0, len(data))


def _read_labels(path: Path) -> None:
    import numpy as np

    from lsa_onnx.inputs import InputSpec, open_data

    samples = path.with_name("x.npy")
    np.save(samples, np.zeros((5, 2), np.float32))
    open_data(samples, InputSpec(), (2,), labels=path)


def _read_model(path: Path) -> None:
    from lsa_onnx.model import load_model

    load_model(path)


def _read_report(path: Path) -> None:
    from lsa_onnx.report import read_report

    read_report(path)


def _read_sidecar(path: Path) -> None:
    from lsa_onnx.inputs import load_spec

    load_spec(path.with_name("model.onnx"))


_READERS: Mapping[str, Callable[[Path], None]] = MappingProxyType(
    {
        "data": _read_data,
        "labels": _read_labels,
        "model": _read_model,
        "report": _read_report,
        "sidecar": _read_sidecar,
    }
)
