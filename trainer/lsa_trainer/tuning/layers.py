"""Which layers a trial may regularise, from one scan of the original (Khalooei et al. 2023, Alg. 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from lsa_onnx.errors import DataError
from lsa_onnx.report.document import PerturbationResult, Report

MOST_ETA = 2.0
# Of a deep model, the layers that move most are tried alone, no more than so many.
_ALONE = 12
_LARGEST_GROWTH = (1, 2, 3, 5)
# Sums of many figures carry rounding of this relative size; see ``lsa_onnx.mvl``.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Ranking:
    """What a scan says of the layers that training can read, under the perturbation that moved most.

    Attributes:
        perturbation: Its name.
        means: CM_l by tensor, the largest first.
        growth: By tensor, the largest first; layers of which it is not known are left out.
        mu: Mean of all CM, over samples and layers.
        sigma: Their standard deviation.
        listed: The MVL list of the scan itself; where that holds none of the layers, the one that moves most.
    """

    perturbation: str
    means: dict[str, float]
    growth: dict[str, float]
    mu: float
    sigma: float
    listed: tuple[str, ...]

    @classmethod
    def of(cls, report: Report) -> Ranking:
        """The ranking of a report.

        Raises:
            DataError: It scored no layer that can be regularised.
        """
        result = _headline(report)
        # What training can read: floats of the main graph.
        plain = {
            info.tensor for info in report.layers if info.body is None and info.reading is None
        }
        scores = [score for score in result.layers if score.tensor in plain]
        means = _falling({score.tensor: score.relative_error.mean for score in scores})
        mu, sigma = result.mvl.mu, result.mvl.sigma
        if not means or mu is None or sigma is None:
            raise DataError(
                "the scan scored no layer that can be regularised, a float tensor of the main graph; name some "
                "with --mvl"
            )
        growth = _falling({score.tensor: score.growth for score in scores})
        listed = tuple(name for name in report.mvl.layers if name in plain) or tuple(means)[:1]
        return cls(result.name, means, growth, mu, sigma, listed)

    def mvl(self, eta: float) -> tuple[str, ...]:
        """The MVL list at η: CM_l − μ > η σ; where no layer stands out, the one that moves most."""
        bound = self.mu + eta * self.sigma + _ROUNDING * abs(self.mu)
        listed = tuple(name for name, mean in self.means.items() if mean > bound)
        return listed or tuple(self.means)[:1]

    def etas(self) -> list[float]:
        """One η of 0 to ``MOST_ETA`` for each list that these give, ascending, in two decimals where that will do.

        Lists grow shorter with η; between two of the values at which a layer leaves, they stay the same.
        """
        if self.sigma == 0:
            return [0.0]
        leaving = {(mean - self.mu) / self.sigma for mean in self.means.values()}
        edges = [0.0, *sorted(e for e in leaving if 0 < e < MOST_ETA), MOST_ETA]
        found: dict[tuple[str, ...], float] = {}
        for low, high in pairwise(edges):
            middle = (low + high) / 2
            short = round(middle, 2)
            eta = short if self.mvl(short) == self.mvl(middle) else middle
            found.setdefault(self.mvl(middle), eta)
        return list(found.values())

    def sets(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The sets of layers beside the MVL list, by kind and by what they are called."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        found["alone"] = {f"layer {name}": (name,) for name in list(self.means)[:_ALONE]}
        ranked = tuple(self.growth)
        if ranked:
            counts = [k for k in _LARGEST_GROWTH if k <= len(ranked)]
            found["growth"] = {f"growth {k}": ranked[:k] for k in counts}
        return found


def _headline(report: Report) -> PerturbationResult:
    for result in report.perturbations:
        if result.name == report.mvl.perturbation:
            return result
    raise DataError(
        f"the report holds no perturbation {report.mvl.perturbation!r}, which its MVL list names; scan again"
    )


def _falling(values: dict[str, float | None]) -> dict[str, float]:
    """Those that are known, the largest first; equal ones stay in the order of the graph."""

    def known() -> Iterator[tuple[str, float]]:
        for name, value in values.items():
            if value is not None:
                yield name, value

    return dict(sorted(known(), key=lambda item: -item[1]))
