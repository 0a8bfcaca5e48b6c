"""Audit a model with samples that are in memory: which layers give way, and how strong must an attack be?

    python examples/audit_in_memory.py [MODEL IMAGES.npz]

Without arguments it takes the digit classifier that comes with lsa-onnx. The samples could as well come from a data
loader: an array of x, or a pair (x, y), is all that is needed.
"""

from __future__ import annotations

import sys

import numpy as np

import lsa_onnx
from lsa_onnx.demo.assets import digits_data, digits_model


def main(model: str, images: str) -> None:
    """Scan, then attack at growing strength, and print what matters."""
    with np.load(images) as held:
        x, y = held["x"], held["y"]
    report = lsa_onnx.scan(
        model, data=(x, y), samples=100, perturbations=["gaussian", "pgd"], eps="8/255"
    )
    print(report.verdict.headline)
    for warning in report.warnings:
        print(f"warning {warning.code}: {warning.message}")
    # The records of a report are plain Python; report.to_dataframe() gives them to pandas.
    (pgd,) = (result for result in report.perturbations if result.name == "pgd")
    for score in pgd.layers:
        mean = score.relative_error.mean
        listed = "  most vulnerable" if score.tensor in pgd.mvl.layers else ""
        print(f"{score.tensor:<12} CM {'undefined' if mean is None else f'{mean:.3f}'}{listed}")
    evaluation = lsa_onnx.evaluate(
        model, data=(x, y), samples=100, attacks="pgd", eps_list=["0", "4/255", "8/255", "16/255"]
    )
    for result in evaluation.results:
        low, high = result.interval
        print(
            f"eps {result.eps_text:<7} {result.robust_accuracy:.1%} right ({low:.1%} to {high:.1%})"
        )


if __name__ == "__main__":
    main(*(sys.argv[1:] or [str(digits_model()), str(digits_data())]))
