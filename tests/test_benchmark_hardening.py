from __future__ import annotations

import json
from pathlib import Path

from benchmarks.hardening import page


def write_row(work: Path, method: str, seed: int, clean: float, robust: float) -> None:
    folder = work / f"mnist-cntk-{method}-{seed}"
    folder.mkdir(parents=True)
    row = {
        "case": "mnist-cntk",
        "method": method,
        "seed": seed,
        "layers": ["relu"] if method == "AT-LR" else [],
        "seconds": 60.0,
        "before": {"clean": 0.99, "robust": 0.3},
        "after": {"clean": clean, "robust": robust},
    }
    (folder / "row.json").write_text(json.dumps(row), encoding="utf-8")


def test_means_and_intervals_over_seeds(tmp_path: Path) -> None:
    for seed, robust in enumerate([0.80, 0.82, 0.84]):
        write_row(tmp_path, "AT", seed, 0.98, robust)
        write_row(tmp_path, "AT-LR", seed, 0.97, robust + 0.01 * (seed + 1))
    lines = list(page(tmp_path))
    (plain,) = (line for line in lines if "| AT |" in line)
    # Student's t for two degrees of freedom, a deviation of 2 points: 4.303 · 2 / √3.
    assert plain.endswith("| 3 | 99.0 | 98.0 ± 0.0 | 30.0 | 82.0 ± 5.0 |")
    assert "| mnist-cntk | -1.0 ± 0.0 | +2.0 ± 2.5 | relu |" in lines


def test_one_seed_has_no_interval_and_half_a_pair_no_difference(tmp_path: Path) -> None:
    write_row(tmp_path, "AT", 0, 0.98, 0.8)
    lines = list(page(tmp_path))
    assert any(line.endswith("| 1 | 99.0 | 98.0 | 30.0 | 80.0 |") for line in lines)
    assert not any("relu" in line for line in lines)
