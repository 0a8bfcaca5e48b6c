"""Scan a PyTorch module that is no file yet: export it, and scan the file.

    pip install -c constraints.txt -e '.[examples]'
    python examples/scan_torch_module.py

The module is a small classifier of scikit-learn's digits, trained in a few seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

import lsa_onnx
from lsa_trainer.export import export_onnx

STEPS = 150
BATCH = 128


def trained(x: torch.Tensor, y: torch.Tensor) -> Any:
    """A perceptron of two hidden layers, fitted to ``x`` ``(n, 64)`` in 0..1 and ``y`` ``(n,)``."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(64, 48),
        torch.nn.ReLU(),
        torch.nn.Linear(48, 32),
        torch.nn.ReLU(),
        torch.nn.Linear(32, 10),
    )
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for step in range(STEPS):
        chosen = slice(step * BATCH % len(x), step * BATCH % len(x) + BATCH)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(x[chosen]), y[chosen]).backward()
        optimiser.step()
    return module.eval()


def main() -> None:
    """Train, export, scan, print."""
    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    module = trained(torch.from_numpy(x), torch.from_numpy(y))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "perceptron.onnx"
        # The file appears once ONNX Runtime agrees with torch on what the module computes.
        export_onnx(module, [torch.from_numpy(x[:2])], path, ["x"], ["logits"])
        report = lsa_onnx.scan(path, data=(x, y), samples=200, perturbations="pgd", eps=0.1)
    print(report.verdict.headline)
    for info, score in zip(report.layers, report.perturbations[0].layers, strict=True):
        mean = score.relative_error.mean
        shown = "undefined" if mean is None else f"{mean:.3f}"
        print(f"{info.tensor}: CM {shown}, weights of {', '.join(info.learnable)}")


if __name__ == "__main__":
    main()
