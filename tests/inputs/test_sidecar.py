from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import InputSpec, load_spec, sidecar_path, write_sidecar

numbers = st.floats(-1e6, 1e6, allow_nan=False)
values = st.none() | st.lists(numbers, min_size=2, max_size=2).map(tuple)
positives = st.none() | st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=2).map(tuple)


def test_path_replaces_the_last_suffix_only() -> None:
    assert sidecar_path("models/net.v2.onnx") == Path("models/net.v2.lsa.toml")


@given(
    low=numbers,
    width=st.floats(1e-3, 1e6),
    mean=values,
    std=positives,
    layout=st.sampled_from([None, "NCHW", "NHWC", "flat"]),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, **drawn: Any) -> None:
    low, width = drawn.pop("low"), drawn.pop("width")
    spec = InputSpec(low=low, high=low + width, source="sidecar", **drawn)
    model = tmp_path_factory.mktemp("sidecar") / "net.onnx"
    assert write_sidecar(spec, model) == model.with_name("net.lsa.toml")
    assert load_spec(model) == spec
    assert [path.name for path in model.parent.iterdir()] == ["net.lsa.toml"]


def test_sources(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    assert load_spec(model) == InputSpec()
    assert load_spec(model, range=(0, 255)) == InputSpec(high=255.0, source="flags")
    (tmp_path / "net.lsa.toml").write_text('[input]\nrange = [0, 255]\nlayout = "NHWC"\n')
    assert load_spec(model) == InputSpec(high=255.0, layout="NHWC", source="sidecar")
    assert load_spec(model, range=(0, 1), mean=[0.5], std=[0.25]) == InputSpec(
        mean=(0.5,), std=(0.25,), layout="NHWC", source="sidecar"
    )
    assert load_spec(model, range=(0, 1), layout="NCHW").source == "flags"


def test_an_empty_field_overrides_with_none(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    text = '[input]\nrange = [0, 9]\nmean = [0.5]\nstd = [0.25]\nlayout = "NHWC"\n'
    (tmp_path / "net.lsa.toml").write_text(text)
    found = load_spec(model, mean=(), layout="")
    assert found == InputSpec(high=9.0, std=(0.25,), source="sidecar")


def test_a_sidecar_that_says_nothing_more_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "net.lsa.toml").write_text("no TOML at all")
    found = load_spec(tmp_path / "net.onnx", range=(0, 9), mean=(), std=(), layout="")
    assert found == InputSpec(high=9.0, source="flags")


@pytest.mark.parametrize("ends", [(), (0.0,), (0.0, 1.0, 2.0)])
def test_a_range_has_two_ends(tmp_path: Path, ends: Any) -> None:
    with pytest.raises(DataError) as caught:
        load_spec(tmp_path / "net.onnx", range=ends)
    assert f"range {ends} is not usable; give two numbers" in str(caught.value)


def test_flag_errors_do_not_blame_a_sidecar(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^layout 'HWC' is unknown"):
        load_spec(tmp_path / "net.onnx", layout="HWC")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[inputs]\n", "unknown key 'inputs'; accepted is one table .input."),
        ("input = 3\n", "input is 3; accepted is a table"),
        ("[input]\nranges = [0, 1]\n", "unknown key 'ranges' .* accepted are range, mean, std"),
        ("[input]\nrange = [0, 1, 2]\n", r"range = \[0, 1, 2\].*two numbers"),
        ("[input]\nrange = 255\n", "range = 255 .*two numbers"),
        ("[input]\nmean = [true]\n", r"mean = \[True\].*a list of numbers"),
        ('[input]\nstd = "1"\n', "std = '1' .*a list of numbers"),
        ("[input]\nlayout = 3\n", "layout = 3 .*NHWC"),
        ('[input]\nlayout = "HWC"\n', "layout 'HWC' is unknown"),
        ("[input]\nrange = [1, 1]\n", "range 1,1"),
        ("[input]\nstd = [0]\n", "std '0'"),
        ("[input\n", "not valid TOML"),
        ("\x00", "not valid TOML"),
    ],
)
def test_bad_sidecars_end_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "net.lsa.toml").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_spec(tmp_path / "net.onnx")
    assert "net.lsa.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sidecar_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "net.lsa.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"net.lsa.toml.*not valid TOML"):
        load_spec(tmp_path / "net.onnx")


def test_sidecar_that_is_a_folder_or_a_dead_link(tmp_path: Path) -> None:
    (tmp_path / "a.lsa.toml").mkdir()
    with pytest.raises(DataError, match=r"a.lsa.toml' cannot be read: Is a directory"):
        load_spec(tmp_path / "a.onnx")
    (tmp_path / "b.lsa.toml").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"b.lsa.toml' does not exist"):
        load_spec(tmp_path / "b.onnx")


def test_failed_write_leaves_the_old_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "net.onnx"
    write_sidecar(InputSpec(high=255.0), model)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"net.lsa.toml.*No space left on device"):
        write_sidecar(InputSpec(high=2.0), model)
    assert load_spec(model).high == 255.0
    assert [path.name for path in tmp_path.iterdir()] == ["net.lsa.toml"]


def test_write_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.*cannot be written"):
        write_sidecar(InputSpec(), tmp_path / "gone" / "net.onnx")
