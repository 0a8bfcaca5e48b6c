from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Dataset, InputSpec, open_data
from tests.inputs.files import pixels, write_idx, write_npy, write_npz

SHAPE = (1, 4, 6)
X = pixels(0, 30, 4, 6)
Y = np.arange(30, dtype=np.int64) % 7


def everything(data: Dataset, step: int = 4) -> tuple[Any, Any]:
    """All batches, put together."""
    parts = [data.batch(start, start + step) for start in range(0, len(data), step)]
    x = np.concatenate([x for x, _ in parts])
    y = None if parts[0][1] is None else np.concatenate([y for _, y in parts if y is not None])
    return x, y


def make(kind: str, folder: Path, x: Any) -> Path:
    if kind == "npy":
        return write_npy(folder / "x.npy", x)
    if kind == "npy-fortran":
        return write_npy(folder / "x.npy", np.asfortranarray(x))
    if kind == "npz":
        return write_npz(folder / "x.npz", x=x)
    if kind == "npz-fortran":
        return write_npz(folder / "x.npz", x=np.asfortranarray(x))
    if kind == "npz-stored":
        np.savez(folder / "x.npz", x=x)
        return folder / "x.npz"
    return write_idx(folder / ("x-idx3-ubyte" + (".gz" if kind == "idx.gz" else "")), x)


KINDS = ["npy", "npy-fortran", "npz", "npz-fortran", "npz-stored", "idx", "idx.gz"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [None, 1, 11])
@pytest.mark.parametrize("chunk_bytes", [100, 1 << 20])
def test_every_reader_gives_the_selected_rows(
    kind: str,
    samples: int | None,
    chunk_bytes: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lsa_onnx.inputs.arrays.CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr("lsa_onnx.inputs.dataset.CHUNK_BYTES", chunk_bytes)
    path = make(kind, tmp_path, X)
    data = open_data(path, InputSpec(), SHAPE, samples=samples, seed=3)
    x, y = everything(data)
    expected = X[data.selection].astype(np.float64) / 255
    np.testing.assert_array_equal(x, expected[:, np.newaxis].astype(np.float32))
    assert y is None
    assert (len(data), data.available) == (samples or 30, 30)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous


def test_fingerprint_depends_on_content_selection_and_labels_not_on_the_container(
    tmp_path: Path,
) -> None:
    prints = {
        kind: open_data(make(kind, tmp_path, X), InputSpec(), SHAPE, seed=1).fingerprint
        for kind in KINDS
    }
    assert len(set(prints.values())) == 1
    path = write_npz(tmp_path / "y.npz", x=X, y=Y)
    options: list[dict[str, Any]] = [{}, {"seed": 1}, {"samples": 5}, {"labels": "none"}]
    others = {open_data(path, InputSpec(), SHAPE, **option).fingerprint for option in options}
    assert len(others) == 4
    assert open_data(path, InputSpec(high=255.0), SHAPE).fingerprint in others
    changed = X.copy()
    changed[3, 0, 0] ^= 1
    other = open_data(write_npy(tmp_path / "c.npy", changed), InputSpec(), SHAPE, seed=1)
    assert other.fingerprint not in prints.values()


@given(
    low=st.floats(-500, 500),
    width=st.floats(0.01, 1000),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_bytes_span_the_declared_range(
    tmp_path_factory: pytest.TempPathFactory, low: float, width: float, dtype: Any
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x.npy"
    values = np.arange(256, dtype=np.uint8).reshape(2, 128)
    spec = InputSpec(low=low, high=low + width)
    data = open_data(write_npy(path, values), spec, (128,), dtype=dtype)
    x, _ = data.batch(0, 2)
    expected = low + values[data.selection] / 255 * width
    assert x.dtype == dtype
    np.testing.assert_allclose(x, expected, rtol=2 * np.finfo(dtype).eps, atol=width * 1e-3)
    assert x.min() == dtype(low)
    assert x.max() == dtype(spec.high)


def test_bytes_in_0_255_stay_whole_numbers(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy", X)
    data = open_data(path, InputSpec(high=255.0), SHAPE)
    np.testing.assert_array_equal(data.batch(0, 30)[0][:, 0], X[data.selection])
    assert "bytes scaled to 0..255" in data.notes


def test_labels_follow_their_samples(tmp_path: Path) -> None:
    data = open_data(write_npz(tmp_path / "a.npz", x=X, y=Y), InputSpec(), SHAPE, samples=12)
    _, y = everything(data, 5)
    np.testing.assert_array_equal(y, Y[data.selection])
    assert y.dtype == np.int64


def test_order_is_shuffled_by_the_seed_even_when_all_are_used(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy", X)
    orders = [open_data(path, InputSpec(), SHAPE, seed=seed).selection for seed in (0, 0, 1)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert sorted(orders[0]) == list(range(30))
    assert not np.array_equal(orders[0], np.arange(30))
    assert not np.array_equal(orders[0], orders[2])
    fewer = open_data(path, InputSpec(), SHAPE, samples=7)
    np.testing.assert_array_equal(fewer.selection, orders[0][:7])
    assert "7 of 30 samples, drawn with seed 0" in fewer.notes
    more = open_data(path, InputSpec(), SHAPE, samples=99)
    assert "all 30 samples (99 asked for), shuffled with seed 0" in more.notes


def test_batches_are_copies_and_are_cut_at_the_end(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 30 * 24, dtype=np.float32).reshape(30, *SHAPE)
    data = open_data(write_npz(tmp_path / "x.npz", x=values, y=Y), InputSpec(), SHAPE)
    x, y = data.batch(25, 99)
    assert y is not None
    assert (len(x), len(y)) == (5, 5)
    x[:] = -1
    y[:] = -1
    again, labels = data.batch(25, 30)
    np.testing.assert_array_equal(again, values[data.selection[25:]])
    np.testing.assert_array_equal(labels, Y[data.selection[25:]])
    with pytest.raises(ValueError, match="30:31"):
        data.batch(30, 31)


@pytest.mark.parametrize(
    ("arrays", "options", "used"),
    [
        (("x", "y", "x_test", "y_test"), {}, ("x", "y")),
        (("x_train", "y_train", "x_test", "y_test"), {}, ("x_test", "y_test")),
        (("x_train", "y_train", "x_test", "y_test"), {"split": "train"}, ("x_train", "y_train")),
        (("x_train", "y_train", "x_test", "y_test"), {"split": "train?"}, ("x_train", "y_train")),
        (("x", "y"), {"split": "train?"}, ("x", "y")),
        (("x_train", "y_train"), {}, ("x_train", "y_train")),
        (("images", "digits_y"), {}, ("images", "digits_y")),
        (("Input3", "other", "labels"), {"input_names": ("Input3",)}, ("Input3", "labels")),
        (("x", "z", "y"), {"input_names": ("z", "x")}, ("z", "y")),
        (("x", "z", "y"), {"input_names": ("z",)}, ("z", "y")),
        (("x", "y", "z"), {"input_names": ("x", "y")}, ("x", None)),
        (("image", "y"), {"input_names": ("image", "y")}, ("image", None)),
        (("x", "z", "labels"), {"input_names": ("y", "x")}, ("z", "labels")),
        (("a", "b_y", "c"), {"x_key": "c", "y_key": "b_y"}, ("c", "b_y")),
        (("single",), {}, ("single", None)),
        (("x", "unrelated"), {}, ("x", None)),
    ],
)
def test_arrays_are_chosen_by_name(
    arrays: tuple[str, ...],
    options: dict[str, Any],
    used: tuple[str, str | None],
    tmp_path: Path,
) -> None:
    content = {
        name: (Y + 0) % (index + 2) if "y" in name or "label" in name else pixels(index, 30, 4, 6)
        for index, name in enumerate(arrays)
    }
    path = write_npz(tmp_path / "a.npz", **content)
    data = open_data(path, InputSpec(high=255.0), SHAPE, **options)
    x, y = everything(data)
    np.testing.assert_array_equal(x[:, 0], content[used[0]][data.selection])
    if used[1] is None:
        assert y is None
    else:
        np.testing.assert_array_equal(y, content[used[1]][data.selection])
        assert f"array {used[0]!r} used, labels from {used[1]!r}" in data.notes


def test_further_inputs_by_name(tmp_path: Path) -> None:
    state = np.arange(60.0).reshape(30, 2)
    path = write_npz(tmp_path / "a.npz", x=X, state=state)
    data = open_data(path, InputSpec(), SHAPE, input_names=("image", "state"), samples=9)
    assert data.extra_names == ("state",)
    np.testing.assert_array_equal(data.batch_of("state", 2, 99), state[data.selection[2:]])
    with pytest.raises(DataError, match=r"no array 'mask'.*'state'"):
        data.batch_of("mask", 0, 2)
    parts = write_npz(tmp_path / "c.npz", x_train=X, state=state, state_train=-state, y_train=Y)
    data = open_data(
        parts, InputSpec(), SHAPE, input_names=("x", "state"), split="train", samples=9
    )
    np.testing.assert_array_equal(data.batch_of("state", 2, 99), -state[data.selection[2:]])
    short = write_npz(tmp_path / "b.npz", x=X, state=state[:7])
    with pytest.raises(DataError, match=r"'state'.*7 rows.*30 samples"):
        open_data(short, InputSpec(), SHAPE, input_names=("image", "state"))


def test_only_the_chosen_member_is_read(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", x_train=pixels(1, 50, 40, 60), x_test=X)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("x_train.npy").header_offset
    content[start + 200 : start + 4000] = bytes(3800)
    path.write_bytes(content)
    assert len(open_data(path, InputSpec(), SHAPE)) == 30
    with pytest.raises(DataError, match=r"a.npz' is damaged"):
        open_data(path, InputSpec(), (40, 60), split="train")


@pytest.mark.parametrize("kind", ["npy", "npz", "npz-stored", "idx", "idx.gz"])
def test_memory_follows_the_selection_not_the_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsa_onnx.inputs.arrays.CHUNK_BYTES", 1 << 16)
    path = make(kind, tmp_path, pixels(1, 4000, 40, 60))
    open_data(path, InputSpec(), (40, 60), samples=2)
    tracemalloc.start()
    data = open_data(path, InputSpec(), (40, 60), samples=8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data) == 8
    assert peak < 1_500_000  # the file holds 9.6 MB


# Checks of values


def floats(seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((30, *SHAPE))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_values_that_are_not_finite_name_the_sample(kind: str, bad: float, tmp_path: Path) -> None:
    values = floats()
    values[17, 0, 2, 3] = bad
    with pytest.raises(DataError, match=f"sample 17 holds {bad}"):
        open_data(make(kind, tmp_path, values), InputSpec(), SHAPE)


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [
        (0.0, 200.0, "--range 0,255"),
        (-2.117, 2.64, "--range=-2.12,2.64"),
        (0.0, 300.5, "--range=0,300.5"),
        (1.5, 1.5, "--range 0,255"),
        (-3.0, -3.0, "--range=-3,-2"),
    ],
)
def test_values_outside_the_range_are_refused_before_any_work(
    low: float, high: float, advice: str, tmp_path: Path
) -> None:
    values = np.linspace(low, high, 30 * 24).reshape(30, *SHAPE)
    with pytest.raises(DataError) as caught:
        open_data(write_npy(tmp_path / "x.npy", values), InputSpec(), SHAPE)
    text = str(caught.value)
    assert f"values span {low:g} to {high:g}" in text
    assert "declared range is 0 to 1" in text
    assert advice in text


def test_small_data_in_a_shifted_range(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy", floats())
    with pytest.raises(DataError, match=r"declared range is 5 to 6.*--range 0,1"):
        open_data(path, InputSpec(low=5.0, high=6.0), SHAPE)


def test_bad_values_of_samples_that_are_not_chosen_do_not_matter(tmp_path: Path) -> None:
    values = floats()
    path = tmp_path / "x.npy"
    chosen = open_data(write_npy(path, values), InputSpec(), SHAPE, samples=5).selection
    values[next(i for i in range(30) if i not in chosen)] = 99
    assert len(open_data(write_npy(path, values), InputSpec(), SHAPE, samples=5)) == 5
    values[chosen[3], 0, 0, 0] = 99
    with pytest.raises(DataError, match="to 99, the declared"):
        open_data(write_npy(path, values), InputSpec(), SHAPE, samples=5)


@given(share=st.floats(0, 1), width=st.floats(0.1, 300))
def test_overshoot_within_tolerance_is_clipped(
    tmp_path_factory: pytest.TempPathFactory, share: float, width: float
) -> None:
    values = np.full((3, 2, 5), width / 2)
    values[1, 1, 2] = width * (1 + 0.99e-6 * share)
    values[2, 0, 3] = -width * 0.99e-6 * share
    path = write_npy(tmp_path_factory.mktemp("clip") / "x.npy", values)
    data = open_data(path, InputSpec(high=width), (2, 5), dtype=np.float64)
    x, _ = data.batch(0, 3)
    assert x.min() >= 0
    assert x.max() <= width
    np.testing.assert_allclose(x, values[data.selection], atol=1e-6 * width)


@pytest.mark.parametrize("sign", [1, -1])
def test_overshoot_beyond_tolerance_is_refused(sign: int, tmp_path: Path) -> None:
    values = np.full((3, 2, 5), 0.5)
    values[1, 1, 2] = 0.5 + sign * (0.5 + 2e-6)
    with pytest.raises(DataError, match="declared range is 0 to 1"):
        open_data(write_npy(tmp_path / "x.npy", values), InputSpec(), (2, 5))


@pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "uint16", "float16", ">f8"])
def test_other_types_are_taken_as_values(dtype: str, tmp_path: Path) -> None:
    values = (pixels(2, 9, 5, 7) % 2).astype(dtype)
    data = open_data(write_npy(tmp_path / "x.npy", values), InputSpec(), (5, 7))
    x, _ = data.batch(0, 9)
    np.testing.assert_array_equal(x, values[data.selection].astype(np.float32))
    assert not any("bytes" in note for note in data.notes)


@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
def test_model_types_that_are_not_float_are_refused(dtype: str, tmp_path: Path) -> None:
    path = write_npy(tmp_path / "x.npy", X)
    with pytest.raises(DataError, match=f"type {dtype}.*float32"):
        open_data(path, InputSpec(), SHAPE, dtype=dtype)
