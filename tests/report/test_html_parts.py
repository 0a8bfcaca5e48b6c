"""Parts of a scan's page: answers, banners, gates, warnings, box plots and pictures."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from lsa_onnx.report.document import Accuracy, Report
from lsa_onnx.report.html import render_html
from lsa_onnx.report.html_answers import answers
from lsa_onnx.report.html_boxes import FIGURES, boxes
from lsa_onnx.report.html_examples import examples
from lsa_onnx.report.html_limits import banners
from lsa_onnx.report.html_meanings import MEANINGS
from lsa_onnx.report.html_next import steps
from tests.report.examples import (
    HOSTILE_NAMES,
    empty_report,
    extended_report,
    hostile_report,
    large_report,
    small_report,
    synthetic_report,
)
from tests.report.pages import Page, chart_data, outside

ROOT = Path(__file__).resolve().parents[2]


def told(report: Report) -> dict[str, str]:
    return {question: answer for question, answer, _ in answers(report, steps(report))}


def test_four_questions_are_answered() -> None:
    assert told(small_report()) == {
        "Which layers break?": "2 of 4 layers, the worst first: /conv1/Relu_output_0 (layer 0), "
        "/conv2/Relu_output_0 (layer 1).",
        "Under what?": "pgd (linf, eps 0.3): changing 64.0 % of the input moves layers by 82.0 % on "
        "average. Accuracy: 98.4 % → 2.9 %.",
        "How sure is that?": "256 samples. 1 of 2 listed layers comes up in less than 90 % of bootstrap "
        "resamples: other samples may leave them out.",
        "What now?": "Harden the model. Then: measure how robust it is.",
    }


def test_the_lowest_accuracy_may_be_under_another_perturbation() -> None:
    report = small_report()
    worse = dataclasses.replace(report.perturbations[1], accuracy=Accuracy(0.01, 256, (0.0, 0.03)))
    results = [report.perturbations[0], worse, report.perturbations[2]]
    found = told(dataclasses.replace(report, perturbations=results))
    assert found["Under what?"].endswith("Accuracy under fgsm: 98.4 % → 1.0 %.")


def test_without_labels_flips_are_told() -> None:
    assert told(synthetic_report())["Under what?"].endswith("96.1 % of the predictions flip.")
    first = dataclasses.replace(synthetic_report().perturbations[0], flips=None)
    without = dataclasses.replace(synthetic_report(), perturbations=[first])
    assert told(without)["Under what?"].endswith("82.0 % on average.")


def test_many_layers_and_a_sure_list() -> None:
    report = large_report()
    sure = dataclasses.replace(report.mvl, layers=report.mvl.layers[:4])
    found = told(dataclasses.replace(report, mvl=sure))
    assert found["Which layers break?"].endswith(", and 1 more.")
    assert "All 4 listed layers come up in at least 90 %" in found["How sure is that?"]
    nothing = dataclasses.replace(report.mvl, layers=[])
    assert (
        "None of the 60 layers"
        in told(dataclasses.replace(report, mvl=nothing))["Which layers break?"]
    )


def test_a_scan_that_scored_nothing_says_so() -> None:
    assert list(told(empty_report())) == ["What now?"]


def test_banners_tell_what_the_report_is_not() -> None:
    assert banners(small_report()) == []
    assert [title for title, _ in banners(synthetic_report())] == ["Synthetic data."]
    assert banners(extended_report()) == [
        (
            "Not a whole scan.",
            "It was interrupted. fgsm saw 128 of 256 samples. Not begun: gaussian.",
        ),
        (
            "Shard 1 of 2.",
            "These figures are of samples 1 to 256 of 512. Merge the shards before you compare.",
        ),
    ]


def test_gates_are_on_the_page() -> None:
    text = Page(render_html(extended_report())).text
    assert "Gates: 1 of 3 failed" in text
    assert "✗ failed accuracy@pgd<0.4 accuracy under pgd: 0.03" in text
    assert "≈ known cm:0>0.9 mean CM of layer 0: 0.94 (0.95 in the baseline)" in text
    passed = dataclasses.replace(extended_report(), gates=extended_report().gates[:1])
    assert "Gates: none of 1 failed" in Page(render_html(passed)).text


def test_every_warning_of_a_scan_has_its_meaning() -> None:
    document = (ROOT / "docs/warnings.md").read_text("utf-8")
    documented = set(re.findall(r"^## ([\w-]+)$", document, re.MULTILINE))
    # Raised by landscapes alone, which have a page of their own.
    elsewhere = {"scaled-logits", "no-perturbation", "frozen-weights", "layers-left-out"}
    assert documented - elsewhere <= set(MEANINGS)
    text = Page(render_html(large_report())).text
    assert "What to do: Use more samples, and look at the stability of each layer." in text


def test_boxes_hold_the_quantiles_of_every_figure() -> None:
    report = large_report()
    found = chart_data(render_html(report))
    assert found["figures"] == boxes(report)["figures"]
    for result, by_figure in zip(report.perturbations, found["boxes"], strict=True):
        for (field, _, _), drawn in zip(FIGURES, by_figure, strict=True):
            for score, box in zip(result.layers, drawn, strict=True):
                shown = getattr(score, field)
                if shown.median is None:
                    assert box is None
                    continue
                middle = [shown.quantiles["0.25"], shown.median, shown.quantiles["0.75"]]
                assert box[2:5] == pytest.approx(middle, rel=1e-3)
                assert box[::6] == pytest.approx([shown.minimum, shown.maximum], rel=1e-3)
                assert box[7:] == pytest.approx([shown.mean, shown.n], rel=1e-3)


def test_pictures_have_captions_in_plain_words() -> None:
    named = dataclasses.replace(extended_report().data, classes=["cat", "a dog"] + ["bird"] * 8)
    figure, *others = examples(dataclasses.replace(extended_report(), data=named))
    assert [each["title"] for each in others] == ["Under pgd, sample 4", "Under fgsm, sample 17"]
    assert figure["caption"] == (
        "The model says “bird”, and still does under pgd. The label is “bird”. "
        "Layers moved by 87.0 % of their size on average."
    )
    assert (figure["width"], figure["height"], figure["pixelated"]) == (80, 112, True)
    assert [alt for _, alt, _ in figure["pictures"]] == [
        "Clean input, sample 17",
        "What pgd changed in sample 17, 10 times as strong, around middle grey",
        "The same input under pgd, sample 17",
    ]


def test_what_is_not_known_of_a_picture_is_left_out() -> None:
    bare = dataclasses.replace(
        extended_report().examples[0], label=None, clean_class=3, perturbed_class=3, mean_cm=None,
        width=640, height=480, shrunk=4,
    )  # fmt: skip
    (figure,) = examples(dataclasses.replace(extended_report(), examples=[bare]))
    assert figure["caption"] == (
        "The model says 3, and still does under pgd. Shown at 1/4 of its size."
    )
    assert (figure["width"], figure["pixelated"], figure["changed"]) == (640, False, False)
    silent = dataclasses.replace(bare, clean_class=None, shrunk=1)
    (figure,) = examples(dataclasses.replace(extended_report(), examples=[silent]))
    assert figure["caption"] == ""


def test_pictures_of_a_hostile_report_stay_pictures() -> None:
    shown = dataclasses.replace(
        extended_report().examples[0],
        perturbation=HOSTILE_NAMES[0],
        clean='"><script>alert(3)</script>',
    )
    page = Page(render_html(dataclasses.replace(hostile_report(), examples=[shown])))
    assert [tag for tag, _ in page.tags].count("img") == 3
    assert not page.attribute("onerror")
    assert outside(page) == ['data:image/png;base64,"><script>alert(3)</script>']
