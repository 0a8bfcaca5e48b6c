"""Models and data in a temporary folder, and CM by plain numpy on what the exposed model returns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.instrumented import write_exposed
from lsa_onnx.report.document import LayerScore, PerturbationResult, Report
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.scan import ScanOptions, scan
from tests import graphs

Array = NDArray[Any]

CPU = resolve_device("cpu")


def saved(folder: Path, proto: onnx.ModelProto, name: str = "model.onnx") -> Path:
    return graphs.save(proto, folder / name)


def stored(folder: Path, name: str = "data.npz", **arrays: Array) -> Path:
    path = folder / name
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its stubs take a flag for one of them
    return path


def classes_of(proto: onnx.ModelProto, feeds: dict[str, Array], output: str = "y") -> Array:
    """What the model itself says: labels that make it right on every sample."""
    return np.asarray(graphs.run(proto, feeds)[output].argmax(axis=1), np.int64)


def scanned(model: Path, data: Path | None = None, **options: Any) -> Report:
    options.setdefault("device", "cpu")
    return scan(model, ScanOptions(data=data, **options))


def result(report: Report, name: str) -> PerturbationResult:
    (found,) = [result for result in report.perturbations if result.name == name]
    return found


def score(report: Report, perturbation: str, tensor: str) -> LayerScore:
    (found,) = [s for s in result(report, perturbation).layers if s.tensor == tensor]
    return found


def plain_cm(
    model: Path, feeds: dict[str, Array], perturbed: dict[str, Array], layers: Sequence[str]
) -> dict[str, Array]:
    """‖a − b‖ / ‖a‖ per sample, shape (n,), from single runs of the written instrumented model.

    NaN where ‖a‖ is 0.
    """
    target = model.with_name("exposed.onnx")
    names = write_exposed(model, target, layers, CPU)
    exposed = onnx.load(target)
    onnx.checker.check_model(exposed, full_check=True)
    count = len(next(iter(feeds.values())))
    found: dict[str, list[float]] = {name: [] for name in names}
    for index in range(count):
        part = slice(index, index + 1)
        a = graphs.run(exposed, {name: value[part] for name, value in feeds.items()})
        b = graphs.run(exposed, {name: value[part] for name, value in perturbed.items()})
        for name in names:
            one, other = a[name].astype(np.float64), b[name].astype(np.float64)
            norm = np.linalg.norm(one)
            found[name].append(float(np.linalg.norm(one - other) / norm) if norm > 0 else np.nan)
    return {name: np.asarray(values) for name, values in found.items()}
