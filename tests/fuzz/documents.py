"""Cases of damaged documents: sidecars, reports, configurations."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tests import graphs
from tests.fuzz import raw_bytes, values
from tests.fuzz.archives import npz_bytes
from tests.fuzz.case import Case, few
from tests.fuzz.models import DATA, MODEL
from tests.report import evaluations, examples, hardenings

if TYPE_CHECKING:
    from random import Random

SIDECAR = "model.lsa.toml"
_QUICK = ("--device", "cpu", "-q")
_HEADS = (
    "[[input]]", "[other]", "", "[input.input]", "input = 1", "[input]\n[input]", "[input", "[input]\x00",
)  # fmt: skip
_FLAGS = (
    (),
    (),
    ("--range", "0,1"),
    ("--mean", "0.5,0.5,0.5"),
    ("--layout", "NCHW"),
    ("--std", "1,1,1"),
)
_SHORT = (
    "--epochs", "1", "--steps", "1", "--validation-steps", "2", "--verify-attack", "pgd", "--verify-steps", "2",
)  # fmt: skip
# What a user may ask for takes as long as it takes; that is no defect.
_COSTLY = ("epochs", "steps", "validation_steps", "verify_steps", "batch_size", "validate_every")
_SOUND: dict[str, Any] = {
    "data": DATA, "eps": "8/255", "epochs": 1, "steps": 1, "validation_steps": 2, "verify_attack": "pgd",
    "verify_steps": 2, "batch_size": 8, "device": "cpu", "samples": 12, "validation": 2, "verification": 2,
}  # fmt: skip
_OPTIONS: dict[str, tuple[Any, ...]] = {
    "base": ("standard", "at-fgsm", "at-fast", "at-apgd", "at-trades"),
    "gamma": ("auto", "0", "1", "relu=1", "nan", "relu=x", 1),
    "eps": ("3%", "0", "-1", "x", "1e400", 0.1, "nan"),
    "norm": ("linf", "l2", "l1", "l0"),
    "optimizer": ("sgd", "adamw", "x"),
    "lr": (0.01, 0, -1, 1e300, "x"),
    "schedule": ("cosine", "x"),
    "batch_norm": ("frozen", "clean", "all", "x"),
    "precision": ("32-true", "bf16-mixed", "x"),
    "mvl": (["relu"], ["*"], [], [1], ["no"], "relu"),
    "mean": ([0.5, 0.5, 0.5], [0.5], ["x"], []),
    "std": ([1, 1, 1], [0, 0, 0], []),
    "range": ([0, 1], [1, 0], [0], "0,1"),
    "layout": ("NCHW", "NHWC", "x", ""),
    "data": (DATA, "no.npz", "", ".", "../outside/decoy.bin", 1),
    "report": ("no.json", "", "data.npz", 1),
    "labels": ("none", "no", "data.npz"),
    "hold": (["x=1"], ["x"], "x"),
    "split": ("test", "train?", ""),
    "crop": (1, 100, -1, 0.5),
    "ema": (0.9, 1.0, -1),
    "expect_accuracy": (0.5, 2, "x"),
    "perturbations": (["gaussian"], ["x"], [1], "fgsm"),
    "layers": (["all"], ["op:Relu"], ["re:("], [""]),
    "top_k": (1, 0, -1, "x"),
    "command": (["x"], "x"),
}  # fmt: skip


@cache
def _model() -> bytes:
    content: bytes = graphs.conv_net().SerializeToString(deterministic=True)
    return content


@cache
def _data() -> bytes:
    x = graphs.samples(0, 12, 3, 5, 7)
    return npz_bytes(x=x, y=np.arange(12) % 6)


def sidecar_case(rng: Random) -> Case:
    """A sidecar beside a sound model."""
    table: dict[str, Any] = {
        "range": [0, 1], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "layout": "NCHW",
    }  # fmt: skip
    for _ in range(few(rng)):
        if rng.random() < 0.6:
            drawn = [
                rng.choice((values.number(rng), values.integer(rng), 0.5))
                for _ in range(rng.randint(0, 4))
            ]
            table[rng.choice(("range", "mean", "std"))] = drawn
        else:
            change_any_value(rng, table)
    head = "[input]" if rng.random() < 0.9 else rng.choice(_HEADS)
    content = _damaged_text(rng, f"{head}\n{toml(table)}")
    command = (
        ("evaluate", MODEL, "--eps-list", "0,8/255") if rng.random() < 0.3 else ("scan", MODEL)
    )
    flags = ("--data", DATA, "--attack", "fgsm", *rng.choice(_FLAGS), *_QUICK)
    return Case({MODEL: _model(), DATA: _data(), SIDECAR: content}, (*command, *flags))


def config_case(rng: Random) -> Case:
    """A configuration of a hardening or a loop."""
    table = dict(_SOUND)
    for _ in range(few(rng)):
        if rng.random() < 0.6:
            name = rng.choice(list(_OPTIONS))
            table[name] = deepcopy(rng.choice(_OPTIONS[name]))
        else:
            _change_cheaply(rng, table)
    # Most are refused at once; a sound one trains, which the command is not made to do too often.
    if rng.random() < 0.5:
        table[rng.choice(list(_OPTIONS))] = values.text(rng)
    content = _damaged_text(rng, toml(table))
    files = {MODEL: _model(), DATA: _data(), "config.toml": content}
    command = rng.choice(("harden", "harden", "loop"))
    return Case(
        files,
        (command, MODEL, "--config", "config.toml", "-o", "out.onnx", "-q"),
        ("out.onnx", "out.onnx.run"),
        own_paths=True,
    )


def _change_cheaply(rng: Random, table: dict[str, Any]) -> None:
    kept = {name: table[name] for name in _COSTLY if name in table}
    change_any_value(rng, table)
    for name in _COSTLY:
        odd = rng.choice((kept.get(name), kept.get(name), 0, -1, "1", 1.5, True, [1]))
        if name in table and table[name] is not kept.get(name):
            table[name] = odd


def report_case(rng: Random) -> Case:
    """A report that a hardening reads, or any document that the library reads and shows."""
    kind = rng.choice(("report", "report", "evaluation", "hardening", "harden"))
    document = (
        _report_of_model() if kind == "harden" else json.loads(rng.choice(_documents()[kind]))
    )
    for _ in range(few(rng)):
        change_any_value(rng, document)
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    files = {"report.json": _damaged_text(rng, text)}
    if kind != "harden":
        return Case(files, ("read", kind, "report.json", "copy.json"), ("copy.json",))
    files |= {MODEL: _model(), DATA: _data()}
    words = ("--data", DATA, "--report", "report.json", "-o", "out.onnx", *_SHORT, *_QUICK)
    return Case(files, ("harden", MODEL, *words), ("out.onnx", "out.onnx.run"))


def _report_of_model() -> Any:
    """A report of the model that is hardened with it: a hardening goes by its list of layers."""
    text = json.dumps(examples.small_report().to_dict())
    for name, ours in {"/conv1/Relu_output_0": "relu", "/conv2/Relu_output_0": "conv"}.items():
        text = text.replace(json.dumps(name), json.dumps(ours))
    document = json.loads(text)
    document["model"]["file"]["sha256"] = hashlib.sha256(_model()).hexdigest()
    return document


@cache
def _documents() -> dict[str, list[str]]:
    found: dict[str, Any] = {
        "report": {**examples.all_reports(), "large": examples.large_report(6)},
        "evaluation": evaluations.all_evaluations(),
        "hardening": hardenings.all_hardenings(),
    }
    return {
        kind: [json.dumps(each.to_dict()) for _, each in sorted(made.items())]
        for kind, made in found.items()
    }


def change_any_value(rng: Random, document: Any) -> None:
    """Change, remove, add or repeat one value anywhere in a tree of dicts and lists."""
    held = rng.choice(list(_containers(document)))
    keys: list[Any] = list(held) if isinstance(held, dict) else list(range(len(held)))
    choice = rng.random()
    if choice < 0.15 or not keys:
        if isinstance(held, dict):
            held[rng.choice((values.text(rng), *keys))] = odd_value(rng)
        else:
            held.append(odd_value(rng))
    elif choice < 0.3:
        del held[rng.choice(keys)]
    elif choice < 0.4:
        held[rng.choice(keys)] = held[rng.choice(keys)]
    else:
        held[rng.choice(keys)] = odd_value(rng)


def _containers(document: Any) -> Any:
    yield document
    for each in document.values() if isinstance(document, dict) else document:
        if isinstance(each, (dict, list)):
            yield from _containers(each)


def odd_value(rng: Random, depth: int = 2) -> Any:
    """Any JSON value."""
    choice = rng.randrange(7 if depth else 5)
    if choice == 0:
        return values.integer(rng)
    if choice == 1:
        return values.number(rng)
    if choice in (2, 3):
        return values.text(rng)
    if choice == 4:
        return rng.choice((None, True, False, [], {}))
    items = [odd_value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return items if choice == 5 else {values.text(rng): item for item in items}


def toml(table: dict[str, Any]) -> str:
    """``table`` as TOML; what that cannot say is left out."""
    return "".join(
        f"{_toml(str(name))} = {_toml(each)}\n" for name, each in table.items() if each is not None
    )


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items() if v is not None)
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value if each is not None) + "]"
    if isinstance(value, float):
        return repr(value)
    # JSON writes texts, numbers and truth values as TOML does, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _damaged_text(rng: Random, text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    choice = rng.random()
    if choice < 0.15:
        return raw_bytes.damaged(rng, content)
    if choice < 0.18:
        return b"\xef\xbb\xbf" + content
    if choice < 0.21:
        return text.encode("utf-16")
    if choice < 0.24:
        return content + rng.choice((b"[" * 100000, b"a" * 10**6, b'{"a":' * 50000))
    return content
