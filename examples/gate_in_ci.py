"""Let a CI job fail by a rule of your own: exit code 1 where the model is not robust enough.

    python examples/gate_in_ci.py MODEL IMAGES.npz [LEAST_ROBUST_ACCURACY]

The flag --fail-on of lsa-onnx takes the usual rules. This is for those that it cannot say: here, that the model is held
to the lower end of an interval, and that no layer before the last two may be in the MVL list.
"""

from __future__ import annotations

import sys

import lsa_onnx

# An interval narrows with the root of their number; a hundred tell 80 % from 60 %.
SAMPLES = 100


def objections(model: str, images: str, least: float) -> list[str]:
    """What speaks against the model, a line for each; ``least`` is a share, 0 to 1."""
    found = []
    evaluation = lsa_onnx.evaluate(
        model, data=images, samples=SAMPLES, attacks="pgd", eps_list=["0", "8/255"]
    )
    low, high = evaluation.results[-1].interval
    if low < least:
        found.append(f"robust accuracy is {low:.1%} to {high:.1%}, and must be above {least:.1%}")
    report = lsa_onnx.scan(model, data=images, samples=SAMPLES, perturbations="pgd")
    early = {info.tensor for info in report.layers[:-2]}
    found += [f"layer {name!r} gives way early" for name in report.mvl.layers if name in early]
    report.save("report.html")
    return found


def main(model: str, images: str, least: str = "0.5") -> int:
    """Print what speaks against the model; the exit code."""
    try:
        found = objections(model, images, float(least))
    except lsa_onnx.LsaError as error:
        # Bad data, an invalid model, ...: the same codes as the command line's.
        print(f"gate: {error}", file=sys.stderr)
        return error.exit_code
    for line in found:
        print(f"gate: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
