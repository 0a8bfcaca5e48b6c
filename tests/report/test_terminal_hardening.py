"""The terminal view of a hardening: whole output, every width, and no name has an effect."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from lsa_onnx.report.hardening import Hardening
from lsa_onnx.report.terminal_hardening import print_hardening
from tests.report.examples import HOSTILE_NAMES
from tests.report.hardenings import (
    all_hardenings,
    fitted,
    forced,
    hardening,
    hostile,
    refused,
    unsure,
)


def shown(found: Hardening, width: int = 100) -> list[str]:
    file = io.StringIO()
    print_hardening(found, Console(file=file, width=width))
    return [line.rstrip() for line in file.getvalue().split("\n")]


def test_a_model_that_became_more_robust() -> None:
    assert shown(hardening()) == [
        "More robust: under attack 46.9 % of the samples stay right, 25.4 % did before",
        "Written to mnist-b-robust.onnx.",
        "",
        "                              Before                After       Change   n",
        "─" * 74,
        "Clean accuracy  99.2 % (97.2–99.8 %) 98.8 % (96.6–99.6 %)  −0.4 points 256",
        "Robust accuracy 25.4 % (20.4–31.1 %) 46.9 % (40.9–53.0 %) +21.5 points 256",
        "robust = under auto, linf eps 10% · labels: given with the data · on samples that training never saw",
        "· in brackets 95 % Wilson intervals",
        "",
        "Regularised layers (the MVL list of the scan under pgd)",
        "γ     Tensor",
        "2.464 /conv1/Relu_output_0",
        "0.500 /conv2/Relu_output_0",
        "",
        "Largest changes of weights, ‖W′ − W‖ / ‖W‖, 5 of 6 tensors",
        "0.070 ████████████ w7",
        "0.060 ██████████▎  w6",
        "0.050 ████████▋    w5",
        "0.030 █████▏       w3",
        "0.020 ███▍         w2",
        "",
        "Model    mnist-b.onnx · SHA-256 3f9ab0c13f9a…",
        "Training weights of step 54 of 81 chosen · 431,000 of 431,080 weights trained · 332.9 s",
        "Folder   mnist-b-robust.onnx.run (checkpoints, log, configuration, result)",
        "",
        "",
    ]


@pytest.mark.parametrize("name", all_hardenings())
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_console_nor_holds_a_control(name: str, width: int) -> None:
    for line in shown(all_hardenings()[name], width):
        assert cell_len(line) <= width
        assert not re.search(r"[\x00-\x1f\x7f\u200b\u202e]", line)


def test_why_no_file_was_written() -> None:
    lines = shown(refused())
    assert lines[0].startswith("Not better: robust accuracy under auto at eps 10% went from 25.4%")
    assert lines[1] == "No file was written."
    assert any("after 81 steps the original weights were still the best" in line for line in lines)


def test_a_forced_file_is_told_as_forced() -> None:
    lines = shown(forced())
    assert lines[0].startswith("Not better: clean accuracy fell from 99.2% to 78.1%")
    assert lines[1] == "Written to mnist-b-robust.onnx, for that was forced."


def test_doubts_and_notes_are_told() -> None:
    notes = [line for line in shown(unsure(), 200) if line.startswith("Note ")]
    assert len(notes) == 3
    assert notes[0].startswith("Note No labels were used")
    assert notes[2] == "Note stopped early: no gain in robust accuracy for 3 validations"
    assert not any(line.startswith("Note ") for line in shown(hardening()))


def test_without_a_layerwise_term_there_is_no_list() -> None:
    lines = shown(unsure())
    assert "Regularised layers: none (--gamma 0: no layer-wise term)" in lines
    assert not any("Largest changes" in line for line in lines)


def test_a_fit_has_neither_percentages_nor_intervals() -> None:
    lines = shown(fitted())
    assert "Robust fit −0.250 0.614 +0.864 256" in lines
    assert not any("Wilson" in line for line in lines)


def test_a_long_list_of_layers_is_cut() -> None:
    lines = shown(hardening(layers={f"layer{i}": 1.0 for i in range(23)}))
    assert "1.000 layer19" in lines
    assert "1.000 layer20" not in lines
    assert "and 3 more" in lines


def test_weights_that_did_not_move_have_no_bar() -> None:
    lines = shown(hardening(changes={"w": 0.0}))
    assert "Largest changes of weights, ‖W′ − W‖ / ‖W‖, all tensors" in lines
    assert any(re.fullmatch(r"0 {14}w", line) for line in lines)


def test_markup_in_names_is_text() -> None:
    text = " ".join(shown(hostile(), 300))
    assert HOSTILE_NAMES[2] in text
    assert r"esc\x1b[31mape\r\n\x07\x00bell" in text


def test_an_ascii_terminal_gets_ascii() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    for found in all_hardenings().values():
        print_hardening(found, Console(file=file, width=100))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "||W' - W|| / ||W||" in text
    assert "gamma Tensor" in text
