"""Models and data in a temporary folder, and CM by plain numpy on what the exposed model returns."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lsa_onnx.instrumented import write_exposed
from lsa_onnx.report.document import AttackOutcome, LayerScore, PerturbationResult, Report
from lsa_onnx.runtime.devices import resolve_device
from lsa_onnx.scanning import ScanOptions, scan
from tests import graphs

if TYPE_CHECKING:
    from types import ModuleType

Array = NDArray[Any]

CPU = resolve_device("cpu")


def saved(folder: Path, proto: onnx.ModelProto, name: str = "model.onnx") -> Path:
    return graphs.save(proto, folder / name)


def stored(folder: Path, name: str = "data.npz", **arrays: Array) -> Path:
    path = folder / name
    np.savez(path, **arrays)  # type: ignore[arg-type]  # its stubs take a flag for one of them
    return path


# How far samples of ``separated`` are from the boundary, in the linf norm; the sign is the class.
AWAY = np.array([0.05, -0.1, 0.15, -0.2, 0.25, -0.3, 0.35, -0.4, 0.02])
# ‖w‖ in the dual norm: a sample at distance a in linf is at a · 4 / ‖w‖ in each norm.
REACH = {"linf": 1.0, "l2": 4 / np.sqrt(6), "l1": 2.0}
_W = np.array([1, -1, 2], np.float32)


def separated(batch: int | str = "N", *, scale: float = 1.0) -> onnx.ModelProto:
    """Two classes, logits 0 and scale · (x0 − x1 + 2 x2 − 1): where they are equal is a plane."""
    weights = {
        "w": np.stack([0 * _W, scale * _W], 1),
        "b": np.array([0, -scale], np.float32),
    }
    nodes = [graphs.node("Gemm", ["x", "w", "b"], ["y"])]
    inputs, outputs = [graphs.value("x", [batch, 3])], [graphs.value("y", [batch, 2])]
    return graphs.model(nodes, inputs, outputs, weights)


def at_distance(away: Array = AWAY) -> Array:
    """Inputs of ``separated`` at that linf distance from its boundary, shape (n, 3).

    They lie in the middle of 0 to 1, so that the range does not stop an attack.
    """
    return (0.5 + away[:, None] * np.sign(_W)).astype(np.float32)


def separated_labels(away: Array = AWAY) -> Array:
    """What ``separated`` says of them, but the last, which is wrong, shape (n,)."""
    labels = (away > 0).astype(np.int64)
    labels[-1] = 1 - labels[-1]
    return labels


def codes_in(*modules: ModuleType) -> set[str]:
    """The codes of warnings that modules raise."""
    return codes_of(map(inspect.getsource, modules))


def codes_of(sources: Iterable[str]) -> set[str]:
    """The codes of warnings that source texts raise."""
    return set(re.findall(r'ReportWarning\(\s*"([a-z-]+)"', "".join(sources)))


def classes_of(proto: onnx.ModelProto, feeds: dict[str, Array], output: str = "y") -> Array:
    """What the model itself says: labels that make it right on every sample."""
    return np.asarray(graphs.run(proto, feeds)[output].argmax(axis=1), np.int64)


def scanned(model: Path, data: Path | None = None, **options: Any) -> Report:
    options.setdefault("device", "cpu")
    return scan(model, ScanOptions(data=data, **options))


def result(report: Report, name: str) -> PerturbationResult:
    (found,) = [result for result in report.perturbations if result.name == name]
    return found


def attack_of(report: Report, name: str = "pgd") -> AttackOutcome:
    found = result(report, name).attack
    assert found is not None
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
