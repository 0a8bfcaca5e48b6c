"""Comparison measures per layer, from the sums of squares that the twin graph returns.

With a = φ(x) and b = φ(x̂) of one sample and layer, flattened:

* relative error ‖a − b‖ / ‖a‖: the comparison measure CM of Khalooei et al. 2023, with the
  Frobenius norm;
* absolute error ‖a − b‖;
* cosine ⟨a, b⟩ / (‖a‖ ‖b‖), as 1 − (‖a − b‖² − (‖a‖ − ‖b‖)²) / (2 ‖a‖ ‖b‖);
* amplification ‖a − b‖ / ‖x − x̂‖, the empirical Lipschitz ratio ψ of the layers up to this one.

The textbook ⟨a, b⟩ = (‖a‖² + ‖b‖² − ‖a − b‖²) / 2 leaves an error of 1e-7 in the cosine when the
sums are single precision, as much as the whole distance 1 − cosine of two vectors that differ by
0.05 %. The form above subtracts small numbers only: its error is about 1e-7 CM (1 + CM), which
``tests/test_measures.py`` holds it to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.executions import ExecutionSums, ExecutionTally
from lsa_onnx.mvl import Selection, Sums, listed_shares, select, top_layers
from lsa_onnx.report.document import Distribution, LayerInfo, LayerScore, MvlList, Status
from lsa_onnx.statistics import RESAMPLES, Summaries, row_slices

Array = NDArray[np.float64]

# A clean representation whose root mean square is below this has no direction worth a ratio.
NEAR_ZERO_RMS = 1e-8
_MEASURES = 4


@dataclass(frozen=True)
class SumsOfSquares:
    """Per sample and layer, each of shape (n, layers): ‖a − b‖², ‖a‖² and ‖b‖²."""

    difference: Array
    clean: Array
    perturbed: Array


class Scores:
    """All layers under one perturbation, accumulated batch by batch."""

    def __init__(self, sizes: Sequence[int], bodies: Mapping[int, str] | None = None) -> None:
        """Start with nothing.

        Args:
            sizes: Elements per sample of each layer; they set what counts as a near-zero norm.
            bodies: Layer → path of the body that makes it, for those that a body makes.
        """
        count = len(sizes)
        self._bodies = dict(bodies or {})
        self._executions = {index: ExecutionTally() for index in self._bodies}
        self._floors = np.asarray(sizes, np.float64) * NEAR_ZERO_RMS**2
        # Columns: the relative errors of all layers, then absolute errors, cosines, amplifications.
        ceilings = np.repeat([np.nan, np.nan, 1.0, np.nan], count)
        self._measures = Summaries(_MEASURES * count, ceilings)
        self._input = Summaries(3)
        self._nonfinite, self._undefined = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._squares, self._drawn_squares = np.zeros(count), np.zeros((RESAMPLES, count))

    def add(
        self,
        sums: SumsOfSquares,
        change: Array,
        weights: Array,
        executions: Mapping[int, ExecutionSums] | None = None,
    ) -> None:
        """Take in a batch.

        Args:
            sums: What the twin returned for it, shape (n, layers).
            change: How far the inputs moved, as ``input_change`` says it, shape (n, 3).
            weights: Bootstrap weights, shape (n, RESAMPLES).
            executions: What each execution gave, of the layers that a body makes.
        """
        self._input.add(change, weights)
        ran = np.ones(sums.clean.shape, np.bool_)
        for index, executed in (executions or {}).items():
            ran[:, index] = executed.common > 0
            self._executions[index].add(executed)
        finite = np.isfinite(sums.difference + sums.clean + sums.perturbed) & ran
        defined = finite & (sums.clean > self._floors)
        self._nonfinite += (ran & ~finite).sum(axis=0)
        self._undefined += (finite & ~defined).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            absolute = np.where(finite, np.sqrt(sums.difference), np.nan)
            relative = np.where(defined, absolute / np.sqrt(sums.clean), np.nan)
            cosine = np.where(defined, _cosine(sums), np.nan)
            amplification = absolute / change[:, :1]
        self._measures.add(np.hstack([relative, absolute, cosine, amplification]), weights)
        squares = np.where(defined, relative, 0.0) ** 2
        self._squares += squares.sum(axis=0)
        self._drawn_squares += weights.T @ squares

    def input_distributions(self) -> tuple[Distribution, Distribution, Distribution]:
        """‖Δx‖₂, ‖Δx‖∞ and ‖Δx‖₂ / ‖x‖₂ over samples, in units of the declared range."""
        l2, linf, relative = self._input.distributions()
        return l2, linf, relative

    def selection(self, eta: float) -> Selection:
        """Algorithm 1 over all samples so far."""
        moments, count = self._measures.moments, len(self._floors)
        counts = moments.n[:count].astype(np.float64)
        return select(Sums(counts, counts * moments.mean[:count], self._squares), eta)

    def mvl(
        self, perturbation: str, layers: Sequence[LayerInfo], eta: float, top_k: int | None
    ) -> MvlList:
        """The MVL list by η, or the ``top_k`` layers with the largest mean CM."""
        chosen = self.selection(eta)
        picked = chosen.layers if top_k is None else top_layers(chosen.means, top_k)
        known = bool(np.isfinite(chosen.mu))
        return MvlList(
            perturbation=perturbation,
            rule="eta" if top_k is None else "top-k",
            eta=eta,
            top_k=top_k,
            mu=chosen.mu if known else None,
            sigma=chosen.sigma if known else None,
            threshold=chosen.mu + eta * chosen.sigma if known else None,
            layers=[layers[index].tensor for index in picked],
        )

    def stability(self, eta: float, top_k: int | None) -> Array:
        """Share of bootstrap resamples in which each layer is in the list, shape (layers,)."""
        count = len(self._floors)
        weight, total = self._measures.drawn_weight, self._measures.drawn_sum
        return listed_shares(
            Sums(weight[:, :count], total[:, :count], self._drawn_squares), eta, top_k
        )

    def layer_scores(
        self, layers: Sequence[LayerInfo], eta: float, top_k: int | None
    ) -> list[LayerScore]:
        """The records of all layers, in their order."""
        stability, growth = self.stability(eta, top_k), self._growth(layers)
        distributions, count = self._measures.distributions(), len(self._floors)
        return [
            self._score(index, info, distributions[index::count], growth[index], stability[index])
            for index, info in enumerate(layers)
        ]

    def _score(
        self,
        index: int,
        info: LayerInfo,
        measures: Sequence[Distribution],
        growth: float | None,
        stability: float,
    ) -> LayerScore:
        relative, absolute, cosine, amplification = measures
        nonfinite, undefined = int(self._nonfinite[index]), int(self._undefined[index])
        path, tally = self._bodies.get(index), self._executions.get(index)
        executions = tally.record(path) if tally is not None and path is not None else None
        skipped = executions.skipped_samples if executions else 0
        status, reason = _status(relative, absolute, nonfinite, undefined, skipped)
        return LayerScore(
            tensor=info.tensor,
            status=status,
            reason=reason,
            relative_error=relative,
            absolute_error=absolute,
            cosine=cosine,
            amplification=amplification,
            growth=growth,
            undefined_samples=undefined,
            nonfinite_samples=nonfinite,
            stability=float(stability),
            executions=executions,
        )

    def _growth(self, layers: Sequence[LayerInfo]) -> list[float | None]:
        """CM_l over the largest CM of the layers that feed l, or over the input's relative change.

        ``None`` where either of the two is undefined or the lower one 0.
        """
        means = dict(zip((info.tensor for info in layers), self.selection(0.0).means, strict=True))
        moments = self._input.moments
        first = float(moments.mean[2]) if moments.n[2] else np.nan
        found: list[float | None] = []
        for info in layers:
            before = [means[name] for name in info.previous if np.isfinite(means[name])]
            base = first if not info.previous else max(before, default=np.nan)
            ratio = means[info.tensor] / base if base > 0 else np.nan
            found.append(float(ratio) if np.isfinite(ratio) else None)
        return found


def input_change(x: NDArray[Any], x_adv: NDArray[Any]) -> Array:
    """‖Δx‖₂, ‖Δx‖∞ and ‖Δx‖₂ / ‖x‖₂ per sample, shape (n, 3); the last NaN or ∞ where x is 0.

    Args:
        x: Clean inputs in units of the declared range, shape (n, ...).
        x_adv: Perturbed inputs, likewise.
    """
    rows, perturbed = x.reshape(len(x), -1), x_adv.reshape(len(x), -1)
    found = np.empty((len(x), 3))
    for part in row_slices(len(x), rows.shape[1]):
        clean = rows[part].astype(np.float64)
        delta = perturbed[part] - clean
        found[part, 0] = np.sqrt(np.einsum("ij,ij->i", delta, delta))
        found[part, 1] = np.abs(delta).max(axis=1, initial=0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[part, 2] = found[part, 0] / np.sqrt(np.einsum("ij,ij->i", clean, clean))
    return found


def _cosine(sums: SumsOfSquares) -> Array:
    """Shape (n, layers); NaN where a norm is 0."""
    clean, perturbed = np.sqrt(sums.clean), np.sqrt(sums.perturbed)
    distance = (sums.difference - (clean - perturbed) ** 2) / (2 * clean * perturbed)
    return np.asarray(1.0 - np.clip(distance, 0.0, 2.0))


def _status(
    relative: Distribution, absolute: Distribution, nonfinite: int, undefined: int, skipped: int
) -> tuple[Status, str | None]:
    left_out = [
        (skipped, "did not run it on both sides"),
        (nonfinite, "gave NaN or infinity"),
        (undefined, "had a clean norm near zero"),
    ]
    said = "; ".join(f"{n} sample{'s' * (n != 1)} {what}" for n, what in left_out if n)
    if absolute.n == 0 and skipped and not nonfinite:
        return "not executed", "no sample ran it on both sides"
    if absolute.n == 0:
        return "not finite", said or "no sample was scored"
    if relative.n == 0:
        return "undefined", f"{said}: only the absolute error is defined"
    if absolute.maximum == 0:
        still = "it does not move under this perturbation"
        return "constant", f"{still}; {said}" if said else still
    return "ok", said or None
