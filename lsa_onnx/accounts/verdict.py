"""The result in plain words, and which perturbation's list is the headline."""

from __future__ import annotations

from collections.abc import Sequence

from lsa_onnx.report.document import Accuracy, LayerInfo, MvlList, PerturbationResult, Verdict

_WEIGHT = {"attack": 2, "pairs": 1, "noise": 0}


def headline(results: Sequence[PerturbationResult]) -> PerturbationResult:
    """The result whose MVL list stands for the scan.

    Attacks count before pairs made elsewhere, and those before noise; among attacks, the one that
    broke most samples; among equals, the perturbation that moved the network most (largest μ).
    """
    return max(results, key=_gravity)


def _gravity(result: PerturbationResult) -> tuple[int, float, float]:
    success = result.attack.success if result.attack else None
    mu = result.mvl.mu if result.mvl.mu is not None else -1.0
    return _WEIGHT[result.kind], success.value if success else 0.0, mu


def no_list(eta: float, top_k: int | None) -> MvlList:
    """The list of a scan that scored nothing."""
    rule = "eta" if top_k is None else "top-k"
    return MvlList("", "eta" if rule == "eta" else "top-k", eta, top_k, None, None, None, [])


def verdict(
    layers: Sequence[LayerInfo],
    results: Sequence[PerturbationResult],
    mvl: MvlList,
    accuracy: Accuracy | None,
) -> Verdict:
    """What a person should take away."""
    if not layers or not results:
        return Verdict(
            "nothing scored",
            "Nothing was scored: the model has no tensor to score under this choice of layers.",
            ["`lsa-onnx layers MODEL` lists every tensor with the reason; try --layers all."],
        )
    details = [_effect(result, accuracy) for result in results]
    if not mvl.layers:
        return Verdict("no layer stands out", _nobody(layers, results, mvl), details)
    worst = mvl.layers[0]
    mean = _means(results, mvl)[worst]
    named = ", ".join(mvl.layers[:3]) + (", …" if len(mvl.layers) > 3 else "")
    listed = f"{len(mvl.layers)} of {_layers(len(layers))}"
    alone = len(mvl.layers) == 1
    moves = ", which moves" if alone else f"; {worst} moves most,"
    text = (
        f"{listed} {'is' if alone else 'are'} most vulnerable under {mvl.perturbation}: "
        f"{named}{moves} by {mean:.1%} of its norm."
    )
    return Verdict("layers found", text, details)


def _nobody(
    layers: Sequence[LayerInfo], results: Sequence[PerturbationResult], mvl: MvlList
) -> str:
    means = _means(results, mvl)
    if not means:
        return (
            f"No layer has a relative error under {mvl.perturbation}: "
            f"it is undefined for all {_layers(len(layers))}."
        )
    largest = max(means, key=means.__getitem__)
    among = f"among {_layers(len(means))} " if len(means) > 1 else ""
    return (
        f"No layer stands out {among}under {mvl.perturbation} at η = {mvl.eta:g}; "
        f"{largest} moves most, by {means[largest]:.1%} of its norm."
    )


def _means(results: Sequence[PerturbationResult], mvl: MvlList) -> dict[str, float]:
    """Mean CM by tensor under the perturbation of ``mvl``, in graph order, where it is defined."""
    scores = [s for r in results if r.name == mvl.perturbation for s in r.layers]
    return {s.tensor: s.relative_error.mean for s in scores if s.relative_error.mean is not None}


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"


def _effect(result: PerturbationResult, clean: Accuracy | None) -> str:
    moved = result.input_relative.mean
    size = f" (Δx is {moved:.1%} of x)" if moved is not None else ""
    mean = "undefined" if result.mvl.mu is None else f"{result.mvl.mu:.1%}"
    parts = [f"{result.name}{size}: layers move by {mean} of their norm on average"]
    if result.accuracy is not None and clean is not None:
        parts.append(f"accuracy {clean.value:.1%} → {result.accuracy.value:.1%}")
    elif result.flips is not None:
        parts.append(f"{result.flips:.1%} of predictions change")
    return ", ".join(parts) + "."
