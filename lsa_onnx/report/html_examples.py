"""The inputs that a perturbation changed to most effect, as figures with captions in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsa_onnx.report import text
from lsa_onnx.report.text import visible

if TYPE_CHECKING:
    from lsa_onnx.report.document import Example, Report

# Small pictures are enlarged by a whole factor, to about this many pixels.
_SHOWN = 112


def examples(report: Report) -> list[dict[str, Any]]:
    """The figures, in the order of the report."""
    return [_figure(example, report.data.classes) for example in report.examples]


def _figure(example: Example, classes: list[str] | None) -> dict[str, Any]:
    larger = max(1, round(_SHOWN / max(example.width, example.height)))
    name = visible(example.perturbation)
    sample = f"sample {example.index:,}"
    gain = text.brief(example.gain)
    return {
        "title": f"Under {name}, {sample}",
        "width": larger * example.width,
        "height": larger * example.height,
        "pixelated": larger > 1,
        "pictures": [
            ("Clean", f"Clean input, {sample}", example.clean),
            (
                f"Change × {gain}",
                f"What {name} changed in {sample}, {gain} times as strong, around middle grey",
                example.difference,
            ),
            ("Perturbed", f"The same input under {name}, {sample}", example.perturbed),
        ],
        "changed": example.clean_class != example.perturbed_class,
        "caption": _caption(example, classes),
    }


def _caption(example: Example, classes: list[str] | None) -> str:
    said = []
    before, after = (_class(c, classes) for c in (example.clean_class, example.perturbed_class))
    if before is not None and after is not None:
        under = visible(example.perturbation)
        said.append(
            f"The model says {before}, and still does under {under}."
            if before == after
            else f"The model says {before}; under {under} it says {after}."
        )
    label = _class(example.label, classes)
    if label is not None:
        said.append(f"The label is {label}.")
    if example.mean_cm is not None:
        said.append(f"Layers moved by {text.share(example.mean_cm)} of their size on average.")
    if example.shrunk > 1:
        said.append(f"Shown at 1/{example.shrunk} of its size.")
    return " ".join(said)


def _class(number: int | None, classes: list[str] | None) -> str | None:
    """A class by its name where it has one: class 3 (cat), or 3 where the name says no more."""
    if number is None:
        return None
    if classes is None or not 0 <= number < len(classes) or classes[number] == str(number):
        return str(number)
    return f"“{visible(classes[number])}”"
