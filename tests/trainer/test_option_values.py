"""Options of a training run: what type a value is given in, and where files are."""

from __future__ import annotations

import dataclasses
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.attacks import ATTACKS
from lsa_onnx.errors import DataError
from lsa_trainer.option_checks import PUBLISHED
from lsa_trainer.options import HardenOptions, TrainingOptions, read_record


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"eps": 0.1, "step_size": np.float64(0.025)}, {"eps": "0.1", "step_size": "0.025"}),
        ({"gamma": 0}, {"gamma": "0"}),
        ({"gamma": 0.0}, {"gamma": "0"}),
        ({"gamma": 1e-5, "eps": 1}, {"gamma": "1e-05", "eps": "1"}),
        ({"lr": 1, "beta": np.float32(0.5)}, {"lr": 1.0, "beta": 0.5}),
        ({"epochs": np.int64(3)}, {"epochs": 3}),
    ],
)
def test_a_number_is_kept_as_the_field_wants_it(
    given: dict[str, Any], kept: dict[str, Any]
) -> None:
    options = TrainingOptions(**given)
    assert options == TrainingOptions(**kept)
    for name, value in kept.items():
        assert type(getattr(options, name)) is type(value)


def test_files_and_lists_are_kept_as_the_fields_want_them() -> None:
    options = HardenOptions(data="x.npz", report="scan.json", mvl=["r"], mean=[1])  # type: ignore[arg-type]
    assert (options.data, options.report) == (Path("x.npz"), Path("scan.json"))
    assert (options.mvl, options.mean) == (("r",), (1.0,))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"epochs": "3"}, "a value of type int"),
        ({"epochs": 1.5}, "a value of type int"),
        ({"epochs": True}, "a value of type int"),
        ({"epochs": None}, "a value of type int"),
        ({"lr": "1e-3"}, "a value of type float"),
        ({"lr": False}, "a value of type float"),
        ({"eps": None}, "a value of type str"),
        ({"eps": True}, "a value of type str"),
        ({"gamma": {"r": 1}}, "a value of type str"),
        ({"base": 3}, "a value of type str"),
        ({"flip": 1}, "a value of type bool"),
        ({"norm": ["l2"]}, "a value of type str"),
        ({"range": (0.0,)}, "a list of 2 values of type float"),
        ({"range": (0.0, 1.0, 2.0)}, "a list of 2 values of type float"),
        ({"range": 255}, "a list of 2 values of type float"),
        ({"mvl": "relu"}, "a list of values of type str"),
        ({"data": 3}, "a value of type str"),
        ({"samples": "7"}, "a value of type int"),
    ],
)
def test_a_value_of_another_type(given: dict[str, Any], wanted: str) -> None:
    ((name, value),) = given.items()
    kind = TrainingOptions if name in TrainingOptions.__dataclass_fields__ else HardenOptions
    with pytest.raises(DataError) as caught:
        kind(**given)
    assert str(caught.value) == f"option {name!r} in {kind.__name__} is {value!r}; give {wanted}"


@pytest.mark.parametrize(
    ("name", "value", "shown", "kind"),
    [
        ("lr", 10**400, "1e400", "float"),
        ("lr", -(10**4000), "-1e4000", "float"),
        ("lr", Fraction(10**400, 3), "1e399", "float"),
        ("max_clean_drop", 10**309, "1e309", "float"),
        ("eps", 10**400, "1e400", "float"),
        ("range", (0, 10**400), "1e400", "float"),
        ("epochs", 2**63, "1e18", "int"),
    ],
)
def test_a_number_that_no_type_holds(name: str, value: Any, shown: str, kind: str) -> None:
    with pytest.raises(DataError) as caught:
        read_record({name: value}, "'run.toml'")
    assert str(caught.value).startswith(
        f"option {name!r} in 'run.toml' is about {shown}, too large for a value of type {kind}; give one "
    )
    with pytest.raises(DataError, match=f"option {name!r} in HardenOptions is about {shown}, "):
        told(**{name: value})


def test_the_largest_numbers_of_a_type_are_taken() -> None:
    kept = read_record({"epochs": 2**63 - 1, "lr": 10**308}, "run.toml")
    assert kept == {"epochs": 2**63 - 1, "lr": 1e308}


def test_a_text_that_stands_for_no_distance_is_still_refused() -> None:
    with pytest.raises(DataError, match=r"eps 'nan' is not a finite number"):
        TrainingOptions(eps=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"eps '-0.5' is negative"):
        TrainingOptions(step_size=-0.5)  # type: ignore[arg-type]


def told(**changes: Any) -> HardenOptions:
    return HardenOptions(data=Path("x.npz"), **changes)


class TestAttackOfTheVerdict:
    @pytest.mark.parametrize(("norm", "attack"), [("linf", "auto"), ("l2", "auto"), ("l1", "pgd")])
    def test_by_default_it_works_in_the_norm(self, norm: Any, attack: str) -> None:
        assert told(norm=norm).verify_attack == attack
        assert norm in ATTACKS[attack].norms
        assert told(norm=norm).steps_of_verdict == 30

    @pytest.mark.parametrize("attack", ["auto", "square"])
    def test_one_that_does_not_is_refused_by_name(self, attack: str) -> None:
        with pytest.raises(DataError) as caught:
            told(norm="l1", verify_attack=attack)
        assert str(caught.value) == (
            f"--verify-attack {attack!r} does not work in the l1 norm; give one of fgsm, fast, pgd, apgd, "
            "apgd-ce, apgd-dlr, trades, or leave it out"
        )

    def test_it_is_saved(self) -> None:
        options = told(norm="l1")
        assert options.to_record()["verify_attack"] == "pgd"
        assert dataclasses.replace(options, epochs=2).verify_attack == "pgd"


class TestRecord:
    def test_paths_of_files_can_be_made_absolute(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mask.npy").touch()
        hold = ("mask=mask.npy", "t=0.5")
        options = told(report=Path("a/scan.json"), labels="y.npy", hold=hold)
        given, found = options.to_record(), options.to_record(os.path.abspath)
        changed = {name: found[name] for name in given if found[name] != given[name]}
        assert changed == {
            "data": f"{tmp_path}/x.npz",
            "report": f"{tmp_path}/a/scan.json",
            "labels": f"{tmp_path}/y.npy",
            "hold": [f"mask={tmp_path}/mask.npy", "t=0.5"],
        }
        assert HardenOptions.from_record(given) == options
        monkeypatch.chdir("/")
        assert HardenOptions.from_record(found).to_record(os.path.abspath) == found

    def test_no_labels_are_no_file(self) -> None:
        assert told(labels="none").to_record(os.path.abspath)["labels"] == "none"

    def test_folders_can_be_left_out(self) -> None:
        record = told(report=Path("/folder/scan.json")).to_record(os.path.basename)
        assert (record["data"], record["report"]) == ("x.npz", "scan.json")

    def test_numbers_and_lengths_in_a_file(self) -> None:
        assert read_record({"eps": 0.1, "gamma": 1}, "run.toml") == {"eps": "0.1", "gamma": "1"}
        with pytest.raises(DataError) as caught:
            read_record({"range": [0.0]}, "'run.toml'")
        assert str(caught.value) == (
            "option 'range' in 'run.toml' is [0.0]; give a list of 2 values of type float"
        )


def test_by_default_training_is_as_published() -> None:
    options = TrainingOptions()
    assert {name: getattr(options, name) for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner": "dlrr"}, "unknown inner 'dlrr'; did you mean 'dlr'"),
        ({"gamma_schedule": "raising"}, "unknown gamma-schedule 'raising'; did you mean 'rising'"),
        ({"eps_schedule": "linear"}, "unknown eps-schedule 'linear'; .*warmup, cosine, random"),
        ({"clean_weight": 1.5}, "--clean-weight 1.5 is not usable; give a share, 0 to 1"),
        ({"clean_weight": float("nan")}, "--clean-weight nan is not usable"),
        ({"lr_power": 3}, "--lr-power 3 is not usable; give 1"),
        ({"lr_power": 0}, "--lr-power 0 is not usable"),
        ({"base": "standard", "clean_weight": 0.5}, "--clean-weight 0.5 is of no use: base 'standard'"),
        ({"base": "at-trades", "clean_weight": 1}, "--clean-weight 1 is of no use: base 'at-trades'"),
        ({"inner": "ce+cm", "clean_weight": 1}, "of which --clean-weight 1 leaves nothing"),
        ({"inner": "cm", "gamma": 0}, "--inner 'cm' climbs .* with --gamma 0 there are none"),
        ({"inner": "ce+cm", "gamma": " 0 "}, r"--inner 'ce\+cm' climbs .* with --gamma 0"),
    ],
)  # fmt: skip
def test_ways_beyond_the_published_one_that_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        TrainingOptions(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["lr", "weight_decay", "clip", "beta"])
def test_numbers_beyond_any_use_are_refused(name: str) -> None:
    changes: dict[str, Any] = {name: 1e300}
    flag = name.replace("_", "-")
    with pytest.raises(DataError, match=rf"--{flag} 1e\+300 is not usable; give .*1e\+30"):
        HardenOptions(data=Path("x.npz"), **changes)
