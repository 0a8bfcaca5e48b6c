"""Two scan reports: accuracies, and every layer that both models have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lsa_onnx.comparing import changes
from lsa_onnx.comparing.frame import Frame
from lsa_onnx.comparing.layers import Pair, pair_layers
from lsa_onnx.report.comparison import Comparison, LayerChange, PerturbationChange, Unmatched
from lsa_onnx.report.document import PerturbationResult, Report


def compare_scans(frame: Frame, before: Report, after: Report) -> Comparison:
    """What changed from one scan to the other, on the perturbations and layers that both have."""
    pairs, unmatched = pair_layers(before.layers, after.layers)
    layers = _Layers(before, after, pairs, unmatched)
    strengths = frame.strengths
    found = [
        layers.under(before.perturbations[a], after.perturbations[b], strengths[a])
        for a, b in frame.pairs
    ]
    return frame.comparison(
        "scans",
        changes.accuracy_change(before.accuracy, after.accuracy),
        found,
        headline=_headline(frame, before, after),
        unmatched=unmatched,
    )


def _headline(frame: Frame, before: Report, after: Report) -> str | None:
    """The headline perturbation of the report after where both ran it, else that before, else none."""
    for at, report in ((1, after), (0, before)):
        for pair in frame.pairs:
            if report.perturbations[pair[at]].name == report.mvl.perturbation:
                return before.perturbations[pair[0]].name
    return None


@dataclass(frozen=True)
class _Layers:
    """The layers of both scans, and which are one."""

    before: Report
    after: Report
    pairs: Sequence[Pair]
    unmatched: Sequence[Unmatched]

    def under(
        self, was: PerturbationResult, now: PerturbationResult, strength: float | None
    ) -> PerturbationChange:
        """What a perturbation did before, and does after."""
        layers = self._changes(was, now)
        return PerturbationChange(
            name=was.name,
            strength=strength,
            settings=was.parameters,
            accuracy=changes.accuracy_change(was.accuracy, now.accuracy),
            flips_before=was.flips,
            flips_after=now.flips,
            mu_before=was.mvl.mu,
            mu_after=now.mvl.mu,
            layers=layers,
            newcomers=self._alone("after", layers, now),
            leavers=self._alone("before", layers, was),
        )

    def _changes(self, was: PerturbationResult, now: PerturbationResult) -> list[LayerChange]:
        moved, moves = changes.movements(was), changes.movements(now)
        found = []
        for pair in self.pairs:
            tensor = self.before.layers[pair.before].tensor
            other = self.after.layers[pair.after].tensor
            one, two = moved.get(tensor, changes.UNKNOWN), moves.get(other, changes.UNKNOWN)
            found.append(
                LayerChange(
                    number=pair.before,
                    tensor=tensor,
                    other=other,
                    matched=pair.how,
                    before=one,
                    after=two,
                    change=changes.relative_change(one, two),
                    verdict=changes.of_movement(one, two),
                    note=changes.norm_note(one, two),
                )
            )
        return found

    def _alone(
        self,
        side: Literal["before", "after"],
        layers: Sequence[LayerChange],
        of: PerturbationResult,
    ) -> list[str]:
        """The layers that are in the MVL list of one side and not in that of the other, in its order."""
        late = side == "after"
        found = {each.tensor for each in self.unmatched if each.side == side}
        for each in layers:
            other = each.before if late else each.after
            if other.rank is None:
                found.add(each.other if late else each.tensor)
        return [tensor for tensor in of.mvl.layers if tensor in found]
