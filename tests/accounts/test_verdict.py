from __future__ import annotations

import dataclasses

import pytest

from lsa_onnx.accounts.verdict import headline, no_list, verdict
from lsa_onnx.report.document import Accuracy, LayerInfo, LayerScore
from tests.report.parts import failed_score, layer_info, layer_score, mvl_list, perturbation

MEANS = {"conv": 0.2, "fc": 0.85}


def scores(means: dict[str, float]) -> list[LayerScore]:
    return [layer_score(tensor, mean, 1.0, 0.5) for tensor, mean in means.items()]


def infos(*tensors: str) -> list[LayerInfo]:
    return [layer_info(tensor, index, []) for index, tensor in enumerate(tensors)]


def test_listed_layers_are_named_with_the_largest_movement() -> None:
    found = perturbation("pgd", scores(MEANS), eta=0.5)
    said = verdict(infos(*MEANS), [found], found.mvl, None)
    assert said.status == "layers found"
    assert said.headline == (
        "1 of 2 layers is most vulnerable under pgd: fc, which moves by 85.0% of its norm."
    )


def test_a_long_list_is_cut() -> None:
    means = {"a": 0.9, "b": 0.91, "c": 0.92, "d": 0.93, "e": 0.0, "f": 0.0, "g": 0.0}
    found = perturbation("pgd", scores(means), eta=0.1)
    said = verdict(infos(*means), [found], found.mvl, None)
    assert said.headline.startswith(
        "4 of 7 layers are most vulnerable under pgd: d, c, b, …; d moves most"
    )


def test_an_empty_list_names_the_largest_layer() -> None:
    found = perturbation("salt", scores(MEANS), eta=3.0)
    said = verdict(infos(*MEANS), [found], found.mvl, None)
    assert said.status == "no layer stands out"
    assert said.headline == (
        "No layer stands out among 2 layers under salt at η = 3; "
        "fc moves most, by 85.0% of its norm."
    )


def test_a_single_layer_cannot_stand_out() -> None:
    found = perturbation("salt", scores({"fc": 0.5}), eta=0.1)
    said = verdict(infos("fc"), [found], found.mvl, None)
    assert said.headline == (
        "No layer stands out under salt at η = 0.1; fc moves most, by 50.0% of its norm."
    )


def test_undefined_layers_are_called_undefined() -> None:
    failed = [failed_score(tensor, "undefined", "zero") for tensor in MEANS]
    found = perturbation("salt", failed)
    said = verdict(infos(*MEANS), [found], found.mvl, None)
    assert said.headline == (
        "No layer has a relative error under salt: it is undefined for all 2 layers."
    )


def test_nothing_scored() -> None:
    said = verdict([], [], no_list(0.1, None), None)
    assert said.status == "nothing scored"
    assert "--layers all" in said.details[0]


@pytest.mark.parametrize(("top_k", "rule"), [(None, "eta"), (3, "top-k")])
def test_the_list_of_nothing(top_k: int | None, rule: str) -> None:
    empty = no_list(0.1, top_k)
    assert (empty.rule, empty.top_k, empty.layers, empty.mu) == (rule, top_k, [], None)


def test_details_give_the_effect_of_each_perturbation() -> None:
    found = perturbation("pgd", scores(MEANS))
    with_accuracy = verdict(infos(*MEANS), [found], found.mvl, Accuracy(0.98, 10, (0.9, 1.0)))
    assert found.accuracy is not None
    (text,) = with_accuracy.details
    assert text.startswith("pgd (Δx is 64.0% of x): layers move by 52.5% of their norm on average,")
    assert text.endswith(f", accuracy 98.0% → {found.accuracy.value:.1%}.")
    without = dataclasses.replace(found, accuracy=None, flips=0.25)
    said = verdict(infos(*MEANS), [without], found.mvl, None)
    assert said.details[0].endswith("on average, 25.0% of predictions change.")


def test_an_attack_counts_before_pairs_and_those_before_noise() -> None:
    noise = perturbation("salt", scores({"a": 0.9}))
    stronger = perturbation("pepper", scores({"a": 1.5}))
    pairs = dataclasses.replace(perturbation("pairs", scores({"a": 0.5})), kind="pairs")
    attack = perturbation("fgsm", scores({"a": 0.1}))
    undefined = dataclasses.replace(attack, mvl=mvl_list("pgd", []), name="pgd")
    assert headline([noise, stronger]).name == "pepper"
    assert headline([noise, pairs, stronger]).name == "pairs"
    assert headline([noise, pairs, undefined, attack]).name == "fgsm"
