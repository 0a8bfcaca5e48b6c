"""How much of a layer's small CM is a constant that the layer adds to itself, written as a page.

    python benchmarks/constant_part.py WORK docs/results/constant-part.md \
        --rows 'Normal,AT-PGD,AT-PGD-LR-L?,*PGD-E0.4'

WORK is the folder of a run of `lsa-onnx recipe moon-table2`. CM divides by the norm of a representation, and a term
that minimises CM may be served by one that is large and the same for all samples. So the page also has the distance
that a perturbation moves a layer in units of its spread over samples, from which a constant drops out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from lsa_onnx.rewrite.expose import expose
from lsa_onnx.scanning import ScanOptions, scan
from lsa_trainer.recipes import read_recipe
from lsa_trainer.recipes.machine import machine_line
from lsa_trainer.recipes.recipe import Recipe, Row
from lsa_trainer.recipes.stages import model_of

RECIPE = "moon-table2"
SAMPLES = 2000
ATTACK = "pgd"

Array = NDArray[Any]


@dataclass(frozen=True)
class Parts:
    """Of one layer, means over samples.

    Attributes:
        norm: ‖φ(x)‖.
        spread: ‖φ(x) − φ̄‖, the distance from the mean over samples.
        cm: ‖φ(x) − φ(x̂)‖ / ‖φ(x)‖ (Khalooei et al. 2023).
        against_spread: ‖φ(x) − φ(x̂)‖ / spread.
    """

    norm: float
    spread: float
    cm: float
    against_spread: float


def parts(clean: Array, perturbed: Array) -> Parts:
    """Of representations, shape (samples, ...)."""
    rows, moved = (each.reshape(len(each), -1).astype(np.float64) for each in (clean, perturbed))
    norms, distances = np.linalg.norm(rows, axis=1), np.linalg.norm(rows - moved, axis=1)
    spread = float(np.linalg.norm(rows - rows.mean(axis=0), axis=1).mean())
    # As in a scan, a sample without a representation has no CM.
    there = norms > 0
    return Parts(
        float(norms.mean()),
        spread,
        float((distances[there] / norms[there]).mean()),
        float(distances.mean() / spread),
    )


def measured(model: Path, recipe: Recipe, data: Path) -> list[Parts]:
    """Of each scanned layer in the order of the graph, under the recipe's ε on test samples."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "adversarial.npz"
        subject: dict[str, Any] = {"range": recipe.data.range, "decision": recipe.data.decision}
        options = ScanOptions(
            **subject,
            data=data,
            split="test",
            samples=SAMPLES,
            perturbations=(ATTACK,),
            eps=recipe.scan.eps,
            save_adversarial=kept,
            device="cpu",
        )
        tensors = [layer.tensor for layer in scan(model, options).layers]
        with np.load(kept) as arrays:
            x, x_adv = arrays["x"], arrays["x_adv"]
    session = ort.InferenceSession(
        expose(onnx.load(model), tensors).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = session.get_inputs()[0].name
    found = [session.run(tensors, {feed: each}) for each in (x, x_adv)]
    return [parts(*pair) for pair in zip(*found, strict=True)]


def measured_rows(work: Path, recipe: Recipe, rows: Sequence[Row]) -> dict[str, list[list[Parts]]]:
    """By row, for each seed that is done."""
    found: dict[str, list[list[Parts]]] = {row.name: [] for row in rows}
    for folder in sorted(work.glob("seed-*")):
        data = work / "data" / f"{folder.name}.npz"
        for row in rows:
            model = model_of(folder, row)
            if model.exists():
                found[row.name].append(measured(model, recipe, data))
    return {name: each for name, each in found.items() if each}


def page(found: Mapping[str, Sequence[Sequence[Parts]]], eps: str) -> Iterator[str]:
    """The page, line by line."""
    yield "# How much of a small CM is a constant"
    yield ""
    made = f"Made by `python benchmarks/constant_part.py` from a run of `lsa-onnx recipe {RECIPE}`"
    yield f"{made}. {machine_line('cpu')}."
    yield ""
    yield (
        f"Means over {SAMPLES:,} test samples and over seeds; x̂ by {ATTACK.upper()} with ε = {eps}. Spread is the "
        "distance of φ(x) from its mean over samples. A constant that a layer adds to all samples makes CM smaller "
        "and leaves the last column as it is."
    )
    yield ""
    yield "| training | seeds | layer | ‖φ(x)‖ | spread | CM | distance moved / spread |"
    yield "|---|---:|---|---:|---:|---:|---:|"
    for name, seeds in found.items():
        for place, of_layer in enumerate(zip(*seeds, strict=True)):
            columns = ("norm", "spread", "cm", "against_spread")
            cells = [f"{np.mean([getattr(each, c) for each in of_layer]):.3g}" for c in columns]
            yield f"| {name} | {len(seeds)} | L{place} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--rows", default="*", help="names or wildcards, separated by commas")
    given = parser.parse_args()
    recipe = read_recipe(RECIPE)
    rows = recipe.chosen_rows(tuple(given.rows.split(",")))
    lines = page(measured_rows(given.work, recipe, rows), recipe.scan.eps)
    given.page.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
