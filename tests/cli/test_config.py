"""Options from flags and from a file: each once, flags over the file, one line for what is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from lsa_cli.commands import harden, loop
from lsa_cli.config import SCAN_FIELDS, harden_options_of, loop_options_of, read_config
from lsa_cli.training_options import flags_of, parse_share
from lsa_onnx.errors import DataError
from lsa_trainer.objectives import BASES
from lsa_trainer.options import BASES as NAMES_OF_BASES
from lsa_trainer.options import HardenOptions
from tests.cli.contexts import group

if TYPE_CHECKING:
    import click

ONLY_DATA = ["model.onnx", "--data", "x.npz"]
ODD: dict[str, Any] = {
    "data": Path("x.npz"), "labels": "none", "x_key": "a", "y_key": "b", "split": "test",
    "resize": True, "samples": 7, "seed": 3, "range": (-1.0, 255.0), "mean": (0.5, 0.25),
    "std": (2.0, 1.0), "layout": "NHWC", "decision": "min", "perturb": "p", "perturb_at": "t", "hold": ("a=1",),
    "batch": 5, "max_memory_bytes": 1 << 30, "device": "cpu", "expect_accuracy": 0.5,
    "base": "at-fast", "inner": "ce+cm", "clean_weight": 0.25, "gamma": "r=2,s=3",
    "gamma_schedule": "with-eps", "lr_power": 2, "detach_clean": True, "beta": 2.0,
    "label_smoothing": 0.125, "eps": "3%", "norm": "l2", "steps": 2, "step_size": "1/255",
    "eps_warmup": 0.5, "eps_schedule": "random", "epochs": 9, "batch_size": 11, "optimizer": "sgd", "lr": 0.5,
    "momentum": 0.25, "weight_decay": 0.5, "schedule": "step", "warmup": 0.25, "ema": 0.5,
    "clip": 2.0, "crop": 2, "flip": True, "batch_norm": "clean", "precision": "bf16-mixed",
    "channels_last": False, "compile": True, "validate_every": 0.5, "validation_steps": 3,
    "patience": 4, "keep": "last", "max_clean_drop": 0.25, "checkpoint_every": 6, "tensorboard": True,
    "report": Path("scan.json"), "mvl": ("r", "s,t"), "validation": 12, "verification": 13,
    "verify_attack": "square", "verify_steps": 14, "allow_frozen": True, "force": True,
    "reexport": True,
}  # fmt: skip
SWITCHES = [name for name, value in ODD.items() if value is True]


def harden_with(*words: str) -> HardenOptions:
    context = harden.command.make_context("harden", [*ONLY_DATA, *words], parent=group())
    return harden_options_of(context, context.params["config"])


def untold(options: HardenOptions) -> HardenOptions:
    return dataclasses.replace(options, command=())


def write(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_sets_every_option_to_something_else() -> None:
    default = HardenOptions(data=Path("other.npz"))
    for field in dataclasses.fields(HardenOptions):
        if field.name not in ("command", "fresh"):
            assert ODD[field.name] != getattr(default, field.name), field.name


@pytest.mark.parametrize("command", [harden.command, loop.command], ids=["harden", "loop"])
def test_every_option_has_a_flag(command: click.Command) -> None:
    flags = {param.name for param in command.params}
    wanted = {field.name for field in dataclasses.fields(HardenOptions)} - {"command", "range"}
    assert wanted - flags == set()
    assert "range_" in flags
    assert (set(SCAN_FIELDS) <= flags) == (command is loop.command)


def test_without_flags_the_defaults_of_the_library_hold() -> None:
    assert untold(harden_with()) == HardenOptions(data=Path("x.npz"))


def test_every_flag_reaches_its_option() -> None:
    words = []
    for name, value in ODD.items():
        flag = {"max_memory_bytes": "--max-memory"}.get(name, "--" + name.replace("_", "-"))
        if isinstance(value, bool):
            words += [flag if value else f"--no-{flag.removeprefix('--')}"]
        elif name in ("range", "mean", "std"):
            words += [flag, ",".join(map(str, value))]
        else:
            for each in value if isinstance(value, tuple) else [value]:
                words += [flag, str(each)]
    assert untold(harden_with(*words)) == HardenOptions(**ODD)


def test_a_saved_configuration_gives_the_same_options(tmp_path: Path) -> None:
    saved = HardenOptions(**ODD, command=("lsa-onnx", "harden"))
    path = write(tmp_path, tomli_w.dumps(saved.to_record()))
    assert HardenOptions(**read_config(str(path))) == untold(saved)
    assert untold(harden_with("--config", str(path))) == untold(saved)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, tomli_w.dumps(HardenOptions(**ODD).to_record()))
    off = [f"--no-{name.replace('_', '-')}" for name in SWITCHES if name != "resize"]
    options = harden_with(
        "--config", str(path), "--eps", "9%", "--mvl", "u", "--max-clean-drop", "4%", "--bn", "all",
        "--range", "0,1", "--seed", "0", *off,
    )  # fmt: skip
    assert (options.eps, options.mvl, options.max_clean_drop) == ("9%", ("u",), 0.04)
    assert (options.batch_norm, options.range, options.seed) == ("all", (0.0, 1.0), 0)
    assert not any(getattr(options, name) for name in SWITCHES if name != "resize")
    assert (options.epochs, options.data) == (9, Path("x.npz"))


def test_a_whole_number_will_do_for_any_number(tmp_path: Path) -> None:
    found = read_config(str(write(tmp_path, "beta = 2\nrange = [0, 255]\nlr = 1\n")))
    assert found == {"beta": 2.0, "range": (0.0, 255.0), "lr": 1.0}
    assert [type(found[name]) for name in ("beta", "lr")] == [float, float]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epoch = 3", ["'epoch'", "did you mean 'epochs'?"]),
        ("batch-size = 3", ["'batch-size'", "did you mean 'batch_size'?"]),
        ("command = ['a']", ["'command'"]),
        ("[train]\nsteps = 3", ["'train'"]),
        ("steps = 2.5", ["'steps'", "2.5", "type int"]),
        ("steps = true", ["'steps'", "True", "type int"]),
        ("eps = true", ["'eps'", "True", "type str"]),
        ("base = 0.3", ["'base'", "0.3", "type str"]),
        ("flip = 'yes'", ["'flip'", "'yes'", "type bool"]),
        ("beta = 'much'", ["'beta'", "'much'", "type float"]),
        ("mvl = 'relu'", ["'mvl'", "'relu'", "a list of values of type str"]),
        ("mvl = [1]", ["'mvl'", "1", "type str"]),
        ("range = [0, 'b']", ["'range'", "'b'", "type float"]),
        ("range = [0.0]", ["'range'", "[0.0]", "a list of 2 values of type float"]),
        ("range = [0, 1, 2]", ["'range'", "[0, 1, 2]", "a list of 2 values of type float"]),
        ("data = 3", ["'data'", "3", "type str"]),
        ("steps == 3", ["run.toml' is not TOML", "line 1"]),
    ],
)
def test_a_file_of_no_use(tmp_path: Path, text: str, named: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_config(str(path))
    for each in (*named, repr(str(path))):
        assert each in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name, said in (("none.toml", "No such file"), ("", "directory"), ("binary.toml", "UTF")):
        path = str(tmp_path / name)
        with pytest.raises(DataError, match=said if said != "UTF" else "utf-8") as caught:
            read_config(path)
        assert f"--config {path!r}" in str(caught.value)


def test_a_loop_can_be_told_how_to_scan(tmp_path: Path) -> None:
    path = write(tmp_path, "eps = '3%'\nperturbations = ['pgd']\neta = 1\ntop_k = 2\n")
    context = loop.command.make_context(
        "loop",
        [*ONLY_DATA, "--config", str(path), "--top-k", "3", "--layers", "all"],
        parent=group(),
    )
    options, scanning = loop_options_of(context, str(path))
    assert (options.eps, options.data) == ("3%", Path("x.npz"))
    assert scanning == {
        "perturbations": ("pgd",), "eta": 1.0, "top_k": 3, "layers": ("all",)
    }  # fmt: skip
    with pytest.raises(DataError, match="'perturbations'"):
        read_config(str(path))


@pytest.mark.parametrize(
    ("text", "share"), [("2%", 0.02), ("0.02", 0.02), (" 12.5 % ", 0.125), ("0", 0.0)]
)
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share, abs=1e-15)


@pytest.mark.parametrize("text", ["", "%", "2%%", "two", "1/2"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_share(text)
    assert f"{text!r} is not a share" in str(caught.value)


def test_flags_of_values_give_them_back() -> None:
    assert flags_of({"batch_size": 3, "eps": "2%"}) == ["--batch-size", "3", "--eps", "2%"]


def test_names_of_objectives_are_those_of_the_objectives() -> None:
    assert tuple(BASES) == NAMES_OF_BASES


@pytest.mark.parametrize(("digits", "named"), [(400, "about 1e400"), (5000, "4300 digits")])
def test_a_number_beyond_all_bounds(tmp_path: Path, digits: int, named: str) -> None:
    path = write(tmp_path, f"lr = 1{'0' * digits}\n")
    with pytest.raises(DataError) as caught:
        read_config(str(path))
    assert named in str(caught.value)
    assert str(path) in str(caught.value)
