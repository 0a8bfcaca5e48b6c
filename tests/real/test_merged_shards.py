"""Shards of scans of real models, merged, are the scans: bit for bit, whatever the number of threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsa_onnx.accounts.merging import merge
from lsa_onnx.runtime.devices import limit_threads
from lsa_onnx.scanning import scan
from tests.real.test_shared_models import WITH_DATA, WITHOUT_DATA, options

pytestmark = pytest.mark.real

QUICK = {"mnist-cntk"}
EACH = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in [*WITH_DATA, *WITHOUT_DATA]
]
SHARDS = 3
ATTACKED = {"batch": 16, "steps": 3, "perturbations": ("gaussian", "pepper", "fgsm", "pgd")}


@pytest.fixture(autouse=True)
def _all_threads() -> Iterator[None]:
    yield
    limit_threads(None)


@pytest.mark.parametrize("name", EACH)
def test_merged_shards_are_the_scan(
    name: str, shared: Path, images: dict[str, Path], tmp_path: Path
) -> None:
    model = shared / "models" / f"{name}.onnx"
    # The face detector's boxes take as long as all other models together.
    few = {"samples": 7, "batch": 2} if name == "ultraface-rfb-320" else {"samples": 70}
    chosen = options(name, images, layers=("all",), **{**ATTACKED, **few})
    whole = scan(model, chosen)
    records = [tmp_path / f"{i}.npz" for i in range(1, SHARDS + 1)]
    # As on a cluster, where workers share a machine.
    limit_threads(1)
    for number, path in enumerate(records, start=1):
        scan(model, dataclasses.replace(chosen, shard=(number, SHARDS), records=path))
    merged = merge(records)
    assert merged.perturbations == whole.perturbations
    assert (merged.mvl, merged.accuracy, merged.verdict) == (
        whole.mvl,
        whole.accuracy,
        whole.verdict,
    )
    assert (merged.observer, merged.warnings) == (whole.observer, whole.warnings)
    assert merged.examples == whole.examples
