"""Cases of damaged models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import onnx

from tests.fuzz import graph_changes, raw_bytes, references, seeds
from tests.fuzz.case import DECOY, OUTSIDE, Case, few
from tests.fuzz.messages import change_any_field

if TYPE_CHECKING:
    from random import Random

MODEL = "model.onnx"
DATA = "data.npz"
SOUND = "sound.onnx"
# Shares of the ways in which a model is damaged; what is left is damage to its bytes.
_KNOWING = 0.55
_ANY_FIELD = 0.3
_SELECTIONS = ("activations", "learnable", "all", "op:Relu", "re:^[a-z]", "*")
_QUICK = ("--device", "cpu", "-q")


def damaged_model(rng: Random, sound: onnx.ModelProto) -> bytes:
    """The file of ``sound`` with a few defects."""
    model = onnx.ModelProto()
    model.CopyFrom(sound)
    choice = rng.random()
    for _ in range(few(rng)):
        if choice < _KNOWING:
            rng.choice((*graph_changes.CHANGES, *references.CHANGES))(rng, model)
        elif choice < _KNOWING + _ANY_FIELD:
            change_any_field(rng, model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content if choice < _KNOWING + _ANY_FIELD else raw_bytes.damaged(rng, content)


def model_case(rng: Random) -> Case:
    """A damaged model, its sound neighbours, and a command that reads it."""
    return _case(rng, seeds.seed(rng.choice(seeds.NAMES)))


def real_case(rng: Random) -> Case:
    """Likewise, of a real model.

    Raises:
        IndexError: There is none.
    """
    return _case(rng, seeds.real_seed(rng.choice(seeds.real_names())))


def _case(rng: Random, seed: seeds.Seed) -> Case:
    files = {MODEL: damaged_model(rng, seed.model), DATA: seed.data, **seed.files}
    if rng.random() < 0.05:
        files |= {name: raw_bytes.damaged(rng, content) for name, content in seed.files.items()}
    arguments, outputs = command(rng)
    if SOUND in arguments:
        files[SOUND] = seed.model.SerializeToString(deterministic=True)
    links = {references.LINK: f"../{OUTSIDE}/{DECOY}"} if rng.random() < 0.5 else {}
    return Case(files, arguments, outputs, links)


def command(rng: Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A command that reads ``MODEL``, and the files that it writes."""
    choice = rng.random()
    if choice < 0.35:
        return _scan(rng)
    if choice < 0.55:
        return (
            "evaluate",
            MODEL,
            "--data",
            DATA,
            *_attack(rng),
            "--eps-list",
            "0,8/255",
            *_QUICK,
        ), ()
    if choice < 0.75:
        return ("layers", MODEL, "--layers", rng.choice(_SELECTIONS), "--device", "cpu"), ()
    if choice < 0.87:
        out = "exposed.onnx"
        return ("expose", MODEL, "-o", out, "--layers", rng.choice(_SELECTIONS)), (out,)
    if choice < 0.97:
        pair = [MODEL, SOUND] if rng.random() < 0.5 else [SOUND, MODEL]
        return ("diff", *pair), ()
    return ("doctor", MODEL), ()


def _scan(rng: Random) -> tuple[tuple[str, ...], tuple[str, ...]]:
    data: Sequence[str] = ("--data", DATA) if rng.random() < 0.7 else ("--samples", "2")
    attack = _attack(rng) if rng.random() < 0.3 else ("--attack", "gaussian")
    outputs = rng.choice(
        ((), (), ("report.json",), ("report.html",), ("report.json", "report.html"))
    )
    written = [word for name in outputs for word in (f"--{name.rpartition('.')[2]}", name)]
    layers = ("--layers", rng.choice(_SELECTIONS))
    return ("scan", MODEL, *data, *attack, *layers, *written, *_QUICK), outputs


def _attack(rng: Random) -> tuple[str, ...]:
    return rng.choice((("--attack", "fgsm"), ("--attack", "pgd", "--steps", "2")))
