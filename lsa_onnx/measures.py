"""Comparison measures per layer, from the sums of squares that the twin graph returns.

With a = φ(x) and b = φ(x̂) of one sample and layer, flattened:

* relative error ‖a − b‖ / ‖a‖: the comparison measure CM of Khalooei et al. 2023, with the Frobenius norm;
* absolute error ‖a − b‖;
* cosine ⟨a, b⟩ / (‖a‖ ‖b‖), where ⟨a, b⟩ = (‖a‖² + ‖b‖² − ‖a − b‖²) / 2;
* amplification ‖a − b‖ / ‖x − x̂‖, the empirical Lipschitz ratio ψ of the layers up to this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.mvl import Selection, select, top_layers
from lsa_onnx.report.document import Distribution, LayerInfo, LayerScore, MvlList, Status
from lsa_onnx.statistics import RESAMPLES, Summary

Array = NDArray[np.float64]

# A clean representation whose root mean square is below this has no direction worth a ratio.
NEAR_ZERO_RMS = 1e-8


@dataclass(frozen=True)
class SumsOfSquares:
    """Per sample and layer, each of shape (n, layers): ‖a − b‖², ‖a‖² and ‖b‖²."""

    difference: Array
    clean: Array
    perturbed: Array


class _LayerSummary:
    """The four measures of one layer, and the samples that had to be left out."""

    def __init__(self) -> None:
        self.relative = Summary()
        self.absolute = Summary()
        self.cosine = Summary(ceiling=1.0)
        self.amplification = Summary()
        self.undefined = 0
        self.nonfinite = 0


class Scores:
    """All layers under one perturbation, accumulated batch by batch."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Start with nothing.

        Args:
            sizes: Elements per sample of each layer; they set what counts as a near-zero norm.
        """
        self._floors = np.asarray(sizes, np.float64) * NEAR_ZERO_RMS**2
        self._layers = [_LayerSummary() for _ in sizes]
        self._input = {"l2": Summary(), "linf": Summary(), "relative": Summary()}
        shape = (RESAMPLES, len(sizes))
        self._counts, self._sums, self._squares = (np.zeros(len(sizes)) for _ in range(3))
        self._drawn, self._drawn_sums, self._drawn_squares = (np.zeros(shape) for _ in range(3))

    def add(self, sums: SumsOfSquares, x: Array, x_adv: Array, weights: Array) -> None:
        """Take in a batch.

        Args:
            sums: What the twin returned for it, shape (n, layers).
            x: Clean inputs in units of the declared range, shape (n, ...).
            x_adv: Perturbed inputs, likewise.
            weights: Bootstrap weights, shape (n, RESAMPLES).
        """
        moved = self._add_input(x, x_adv, weights)
        finite = np.isfinite(sums.difference) & np.isfinite(sums.clean) & np.isfinite(sums.perturbed)
        defined = finite & (sums.clean > self._floors)
        with np.errstate(divide="ignore", invalid="ignore"):
            absolute = np.where(finite, np.sqrt(sums.difference), np.nan)
            relative = np.where(defined, absolute / np.sqrt(sums.clean), np.nan)
            dot = (sums.clean + sums.perturbed - sums.difference) / 2
            cosine = np.clip(dot / np.sqrt(sums.clean * sums.perturbed), -1.0, 1.0)
            cosine = np.where(defined, cosine, np.nan)
            amplification = absolute / moved[:, None]
        for index, layer in enumerate(self._layers):
            layer.relative.add(relative[:, index], weights)
            layer.absolute.add(absolute[:, index], weights)
            layer.cosine.add(cosine[:, index], weights)
            layer.amplification.add(amplification[:, index], weights)
            layer.nonfinite += int((~finite[:, index]).sum())
            layer.undefined += int((finite & ~defined)[:, index].sum())
        self._add_moments(relative, weights)

    def input_distributions(self) -> tuple[Distribution, Distribution, Distribution]:
        """‖Δx‖₂, ‖Δx‖∞ and ‖Δx‖₂ / ‖x‖₂ over samples, in units of the declared range."""
        return tuple(self._input[key].distribution() for key in ("l2", "linf", "relative"))  # type: ignore[return-value]

    def means(self) -> Array:
        """CM_l per layer, shape (layers,)."""
        return self.selection(0.0).means

    def selection(self, eta: float) -> Selection:
        """Algorithm 1 over all samples so far."""
        return select(self._counts, self._sums, self._squares, eta)

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
        hits = np.zeros(len(self._layers))
        for counts, sums, squares in zip(
            self._drawn, self._drawn_sums, self._drawn_squares, strict=True
        ):
            chosen = select(counts, sums, squares, eta)
            picked = chosen.layers if top_k is None else top_layers(chosen.means, top_k)
            hits[picked] += 1
        return hits / RESAMPLES

    def layer_scores(
        self, layers: Sequence[LayerInfo], eta: float, top_k: int | None
    ) -> list[LayerScore]:
        """The records of all layers, in their order."""
        stability = self.stability(eta, top_k)
        growth = self._growth(layers)
        return [
            self._score(index, info, growth[index], float(stability[index]))
            for index, info in enumerate(layers)
        ]

    def _score(
        self, index: int, info: LayerInfo, growth: float | None, stability: float
    ) -> LayerScore:
        layer = self._layers[index]
        status, reason = _status(layer)
        return LayerScore(
            tensor=info.tensor,
            status=status,
            reason=reason,
            relative_error=layer.relative.distribution(),
            absolute_error=layer.absolute.distribution(),
            cosine=layer.cosine.distribution(),
            amplification=layer.amplification.distribution(),
            growth=growth,
            undefined_samples=layer.undefined,
            nonfinite_samples=layer.nonfinite,
            stability=stability,
        )

    def _growth(self, layers: Sequence[LayerInfo]) -> list[float | None]:
        """CM_l over the largest CM among the layers that feed l, or over the relative change of the input."""
        means = dict(zip((info.tensor for info in layers), self.means(), strict=True))
        found: list[float | None] = []
        for info in layers:
            before = [means[name] for name in info.previous if np.isfinite(means[name])]
            base = max(before) if before else self._input["relative"].mean
            ratio = means[info.tensor] / base if base > 0 else np.nan
            found.append(float(ratio) if np.isfinite(ratio) else None)
        return found

    def _add_input(self, x: Array, x_adv: Array, weights: Array) -> Array:
        """Summarise Δx; returns ‖Δx‖₂ per sample."""
        delta = (x_adv.astype(np.float64) - x).reshape(len(x), -1)
        moved = np.linalg.norm(delta, axis=1)
        norms = np.linalg.norm(x.reshape(len(x), -1).astype(np.float64), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = moved / norms
        self._input["l2"].add(moved, weights)
        self._input["linf"].add(np.abs(delta).max(axis=1, initial=0.0), weights)
        self._input["relative"].add(relative, weights)
        return moved

    def _add_moments(self, relative: Array, weights: Array) -> None:
        valid = np.isfinite(relative)
        values = np.where(valid, relative, 0.0)
        for one, drawn, term in (
            (self._counts, self._drawn, valid.astype(np.float64)),
            (self._sums, self._drawn_sums, values),
            (self._squares, self._drawn_squares, values**2),
        ):
            one += term.sum(axis=0)
            drawn += weights.T @ term


def _status(layer: _LayerSummary) -> tuple[Status, str | None]:
    absolute = layer.absolute.distribution()
    excluded = [
        (layer.nonfinite, "gave NaN or infinity"),
        (layer.undefined, "had a clean norm near zero"),
    ]
    said = "; ".join(f"{count} samples {what}" for count, what in excluded if count)
    if absolute.n == 0:
        return "not finite", said or "no sample was scored"
    if layer.relative.distribution().n == 0:
        return "undefined", f"{said}: only the absolute error is defined"
    if absolute.maximum == 0:
        return "constant", "it does not move under this perturbation"
    return "ok", said or None
