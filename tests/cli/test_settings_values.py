"""Values of a file: taken as the command line would take them, or refused with their key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lsa_cli.main import load
from lsa_cli.settings_values import file_settings
from lsa_onnx.errors import DataError
from tests.cli.contexts import ALL, context, file_of


def values(command: str, table: dict[str, Any], folder: Path) -> dict[str, Any]:
    found = file_settings(file_of(table, folder), command, load(command), ALL)
    return {name: setting.value for name, setting in found.items()}


@pytest.mark.parametrize(
    ("key", "value", "name", "taken"),
    [
        ("range", [0, 255], "range_", (0.0, 255.0)),
        ("range", "0,255", "range_", (0.0, 255.0)),
        ("mean", [0.5, 0.25, 1], "mean", (0.5, 0.25, 1.0)),
        ("attack", ["pgd", "fgsm"], "perturbations", ("pgd", "fgsm")),
        ("attack", "pgd", "perturbations", ("pgd",)),
        ("eps", 0.03, "eps", "0.03"),
        ("eps", "8/255", "eps", "8/255"),
        ("max-memory", "1GiB", "max_memory_bytes", 1 << 30),
        ("max_memory", "512M", "max_memory_bytes", 512 << 20),
        ("top_k", 3, "top_k", 3),
        ("resize", True, "resize", True),
        ("verbose", 2, "verbose", True),
        ("verbose", False, "verbose", False),
        ("json", "-", "json", "-"),
    ],
)
def test_values(key: str, value: Any, name: str, taken: Any, tmp_path: Path) -> None:
    for table in ({key: value}, {"scan": {key: value}}):
        assert context("scan", ["m.onnx"], table, tmp_path).params[name] == taken


def test_lists_between_commas(tmp_path: Path) -> None:
    table = {"eps-list": [0, "2/255"], "attack": ["pgd"]}
    assert context("evaluate", ["m.onnx"], table, tmp_path).params["eps_list"] == "0,2/255"
    assert context("tune", ["m.onnx"], {"seeds": [1, 2]}, tmp_path).params["seeds"] == (1, 2)


def test_switches_can_be_turned_off(tmp_path: Path) -> None:
    table = {"harden": {"channels-last": False, "flip": True}}
    found = context("harden", ["m.onnx"], table, tmp_path).params
    assert (found["channels_last"], found["flip"], found["compile"]) == (False, True, None)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"devcie": 1}, ["lsa-onnx.toml: devcie", "no command", "did you mean 'device'?"]),
        ({"qqq": 1}, ["lsa-onnx.toml: qqq", "accepted are allow-frozen, "]),
        ({"scan": {"epochs": 1}}, ["lsa-onnx.toml: scan.epochs", "scan has no such option"]),
        ({"scan": {"sampels": 1}}, ["scan.sampels", "did you mean 'samples'?"]),
        ({"scna": {}}, ["lsa-onnx.toml: scna", "no such command; did you mean 'scan'?"]),
        ({"resize": "yes"}, ["resize = 'yes'", "give true or false"]),
        ({"quiet": 1}, ["quiet = 1", "give true or false"]),
        ({"seed": True}, ["seed = True", "a text or a number"]),
        ({"scan": {"eps": {"a": 1}}}, ["scan.eps = {'a': 1}", "a text or a number"]),
        ({"samples": [1]}, ["samples = [1]", "give one value, as --samples takes it"]),
        ({"attack": [True]}, ["attack = True", "a text or a number"]),
        ({"seed": 16 ** 5000}, ["seed is not usable", "digits", "give a smaller number"]),
        ({"batch-size": 1, "batch_size": 2, "x_key": "a", "x-key": "b"}, ["written in another way"]),
        ({"custom-ops": ["x.so"]}, ["custom-ops: no file can set this", "--custom-ops on the command line"]),
        ({"scan": {"no_check": True}}, ["scan.no_check: no file can set this"]),
    ],
)  # fmt: skip
def test_refused(table: dict[str, Any], named: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        values("scan", table, tmp_path)
    for each in named:
        assert each in str(caught.value)


def test_an_option_of_other_commands_is_no_mistake(tmp_path: Path) -> None:
    table = {"epochs": 3, "trials": 4, "harden": {"whatever": 1}, "layers": ["all"]}
    assert values("scan", table, tmp_path) == {"layers": ["all"]}
    assert values("layers", {"layers": {"layers": "all"}}, tmp_path) == {"layers": ["all"]}
    assert values("decision-boundary", {"decision_boundary": {"points": 5}}, tmp_path) == {
        "points": "5"
    }


def test_keys_of_pyproject_have_their_whole_name(tmp_path: Path) -> None:
    file = file_of({"scan": {"qqq": 1}}, tmp_path, "tool.lsa-onnx.")
    with pytest.raises(DataError, match=r"lsa-onnx\.toml: tool\.lsa-onnx\.scan\.qqq"):
        file_settings(file, "scan", load("scan"), ALL)


def test_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    table = {
        "data": "x.npz", "labels": "none", "hold": ["mask=m.npy", "t=0.5"], "json": "-",
        "scan": {"html": "out/../r.html", "perturbed": str(tmp_path / "p.npz")},
    }  # fmt: skip
    monkeypatch.chdir(inner)
    assert values("scan", table, tmp_path) == {
        "data": str(tmp_path / "x.npz"),
        "labels": "none",
        "hold": [f"mask={tmp_path / 'm.npy'}", "t=0.5"],
        "json": "-",
        "html": f"{tmp_path}/out/../r.html",
        "perturbed": str(tmp_path / "p.npz"),
    }
    monkeypatch.chdir(tmp_path)
    assert values("scan", {"data": "x.npz"}, tmp_path) == {"data": "x.npz"}


@pytest.mark.parametrize("key", ["json", "html", "plot", "save-adversarial"])
@pytest.mark.parametrize("path", ["../r", "/etc/passwd", "in/../../r", "link/r", "a\0b"])
def test_results_stay_in_the_folder_of_the_file(key: str, path: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(DataError) as caught:
        values("scan", {"scan": {key: path}}, folder)
    assert f"scan.{key} = {path!r} leads out of the file's folder" in str(caught.value)


def test_a_link_to_a_file_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "r.json").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="leads out"):
        values("scan", {"json": "r.json"}, folder)
