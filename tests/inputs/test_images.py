from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lsa_onnx.errors import DataError
from lsa_onnx.inputs import Dataset, InputSpec, Layout, open_data
from tests.inputs.files import encoded, pixels, write_folder, write_npy, write_tar, write_zip

H, W = 5, 8
SPEC = InputSpec(high=255.0)
Files = Mapping[str, bytes]
Writer = Callable[[Path, Files], Path]

WRITERS: dict[str, Writer] = {
    "folder": lambda folder, files: write_folder(folder / "set", files),
    "tar": lambda folder, files: write_tar(folder / "set.tar", files),
    "tar.gz": lambda folder, files: write_tar(folder / "set.tar.gz", files),
    "tgz": lambda folder, files: write_tar(folder / "set.tgz", files),
    "zip": lambda folder, files: write_zip(folder / "set.zip", files),
}
COLOURS = {f"{name}/{i}.png": pixels(i, H, W, 3) for i, name in enumerate(["b", "a", "c", "a"])}
PNGS = {name: encoded(values) for name, values in COLOURS.items()}


def in_file_order(data: Dataset) -> Any:
    """All samples, by their position in the source."""
    x, _ = data.batch(0, len(data))
    back = np.empty((data.available, *x.shape[1:]), x.dtype)
    back[data.selection] = x
    return back


def labels_in_file_order(data: Dataset) -> list[int]:
    assert data.labels is not None
    back = np.empty(data.available, np.int64)
    back[data.selection] = data.labels
    return back.tolist()


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("prefix", ["", "./", "wrapper/inner/"])
def test_every_container(kind: str, layout: Layout, prefix: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path, {prefix + name: content for name, content in PNGS.items()})
    shape = (3, H, W) if layout == "NCHW" else (H, W, 3)
    data = open_data(path, SPEC, shape)
    expected = np.stack([COLOURS[name] for name in sorted(COLOURS)])
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(in_file_order(data), expected)
    assert data.classes == ["a", "b", "c"]
    assert labels_in_file_order(data) == [0, 0, 1, 2]
    x, y = data.batch(1, 3)
    assert y is not None
    assert data.labels is not None
    assert x.dtype == np.float32
    assert (x.shape, y.tolist()) == ((2, *shape), data.labels[1:3].tolist())
    assert x.flags.c_contiguous
    assert "labels from 3 class folders in alphabetical order" in data.notes
    assert "bytes scaled to 0..255" in data.notes


def test_selection_and_fingerprint_do_not_depend_on_the_container(tmp_path: Path) -> None:
    opened = []
    for number, files in enumerate([PNGS, dict(reversed(PNGS.items()))]):
        for kind, write in WRITERS.items():
            (folder := tmp_path / f"{kind}{number}").mkdir()
            path = write(folder, files)
            opened.append(open_data(path, SPEC, (3, H, W), samples=3, seed=2))
    assert len({data.fingerprint for data in opened}) == 1
    assert len({tuple(data.selection) for data in opened}) == 1
    for data in opened:
        np.testing.assert_array_equal(data.batch(0, 3)[0], opened[0].batch(0, 3)[0])
    whole = open_data(tmp_path / "zip0" / "set.zip", SPEC, (3, H, W), seed=2)
    assert whole.fingerprint != opened[0].fingerprint


def test_jpeg(tmp_path: Path) -> None:
    values = np.full((H, W, 3), 120, np.uint8)
    files = {"a/x.JPG": encoded(values, "JPEG"), "b/y.jpeg": encoded(values, "JPEG")}
    data = open_data(write_zip(tmp_path / "j.zip", files), InputSpec(), (3, H, W))
    np.testing.assert_allclose(data.batch(0, 2)[0], 120 / 255, atol=2 / 255)


# Folders


@pytest.mark.parametrize("kind", ["folder", "tar.gz", "zip"])
@pytest.mark.parametrize(
    ("tops", "split", "used"),
    [
        (["train", "val", "test"], None, "test"),
        (["train", "val"], None, "val"),
        (["train"], None, "train"),
        (["train", "val", "test"], "train", "train"),
        (["Train", "Test"], None, "Test"),
        (["fold1", "fold2"], "fold2", "fold2"),
        (["train", "test"], "train?", "train"),
        (["test", "val"], "train?", "test"),
    ],
)
def test_splits(kind: str, tops: list[str], split: str | None, used: str, tmp_path: Path) -> None:
    files = {
        f"{top}/{name}/0.png": encoded(pixels(i * 10 + j, H, W, 3))
        for i, top in enumerate(tops)
        for j, name in enumerate(["cat", "dog"])
    }
    data = open_data(WRITERS[kind](tmp_path, files), SPEC, (3, H, W), split=split)
    start = tops.index(used) * 10
    expected = np.stack([pixels(start + j, H, W, 3) for j in range(2)]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(in_file_order(data), expected)
    assert data.classes == ["cat", "dog"]
    assert any(note.startswith(f"split {used!r} used") for note in data.notes)


def test_split_that_is_not_there(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", PNGS)
    with pytest.raises(DataError, match=r"no folder 'dev' for --split; .*a, b, c"):
        open_data(path, SPEC, (3, H, W), split="dev")


def test_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    names = ["train/ant/0.png", "train/bee/0.png", "test/bee/0.png", "test/cat/0.png"]
    files = dict.fromkeys(names, PNGS["a/1.png"])
    data = open_data(write_folder(tmp_path / "set", files), SPEC, (3, H, W))
    assert data.classes == ["ant", "bee", "cat"]
    assert labels_in_file_order(data) == [1, 2]


@pytest.mark.parametrize(
    ("names", "note"),
    [
        (["1.png", "0.png"], "images lie outside class folders: no labels"),
        (["a/1.png", "0.png"], "images lie outside class folders: no labels"),
        (["test/1.png", "test/0.png"], "images lie outside class folders: no labels"),
        (["images/1.png", "images/0.png"], "one folder 'images' only: no labels"),
    ],
)
def test_images_without_classes(names: list[str], note: str, tmp_path: Path) -> None:
    files = dict.fromkeys(names, PNGS["a/1.png"])
    data = open_data(write_folder(tmp_path / "set", files), SPEC, (3, H, W))
    assert (len(data), data.batch(0, 2)[1], data.classes) == (2, None, None)
    assert note in data.notes


def test_labels_from_a_file_or_not_at_all(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", PNGS)
    labels = write_npy(tmp_path / "y.npy", np.array([5, 6, 7, 8]))
    data = open_data(path, SPEC, (3, H, W), labels=labels)
    assert labels_in_file_order(data) == [5, 6, 7, 8]
    assert data.classes is None
    assert open_data(path, SPEC, (3, H, W), labels="none").labels is None
    short = write_npy(tmp_path / "short.npy", np.array([5, 6]))
    with pytest.raises(DataError, match=r"short.npy' holds 2 labels, .*a.tar' holds 4 samples"):
        open_data(path, SPEC, (3, H, W), labels=short)


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz", "zip"])
def test_other_files_are_passed_over(kind: str, tmp_path: Path) -> None:
    extra = dict.fromkeys(
        [".DS_Store", "a/.hidden.png", ".git/x.png", "__MACOSX/a/._1.png", "README.md", "a/n.txt"],
        b"not an image",
    )
    data = open_data(WRITERS[kind](tmp_path, {**extra, **PNGS}), SPEC, (3, H, W))
    assert (len(data), data.classes) == (4, ["a", "b", "c"])
    assert "2 entries ignored (not JPEG or PNG)" in data.notes


# Pixels


def one_image(tmp_path: Path, image: Image.Image, shape: tuple[int | None, ...], **kw: Any) -> Any:
    """The only sample and the notes."""
    (tmp_path / "set").mkdir(exist_ok=True)
    image.save(tmp_path / "set" / "one.png")
    data = open_data(tmp_path / "set", SPEC, shape, **kw)
    return data.batch(0, 1)[0][0], data.notes


@pytest.mark.parametrize("shape", [(1, H, W), (H, W, 1), (3, H, W), (H, W, 3), (H * W, 1)])
def test_grey_images(shape: tuple[int, ...], tmp_path: Path) -> None:
    grey = pixels(0, H, W)
    x, notes = one_image(tmp_path, Image.fromarray(grey), shape)
    assert x.shape == shape
    channels = 3 if 3 in shape else 1
    expected = np.stack([grey] * channels, 0 if shape[0] == channels else -1)
    np.testing.assert_array_equal(x, expected.reshape(shape))
    assert ("1 grey images replicated to 3 channels" in notes) == (channels == 3)
    assert (f"flattened {H}x{W}x1 to {H * W}x1" in notes) == (len(shape) == 2)


def test_colour_to_one_channel_only_if_equal(tmp_path: Path) -> None:
    grey = np.repeat(pixels(0, H, W, 1), 3, -1)
    x, notes = one_image(tmp_path, Image.fromarray(grey), (1, H, W))
    np.testing.assert_array_equal(x[0], grey[..., 0])
    assert "1 images of equal channels merged to grey" in notes
    grey[2, 3, 1] ^= 1
    with pytest.raises(DataError, match=r"'one.png' is a colour image of 3 channels.*grey"):
        one_image(tmp_path, Image.fromarray(grey), (1, H, W))


def test_alpha(tmp_path: Path) -> None:
    values = pixels(0, H, W, 4)
    x, notes = one_image(tmp_path, Image.fromarray(values), (H, W, 3))
    np.testing.assert_array_equal(x, values[..., :3])
    assert "alpha channel of 1 images dropped" in notes
    x, notes = one_image(tmp_path, Image.fromarray(values), (H, W, 4))
    np.testing.assert_array_equal(x, values)
    assert not any("alpha" in note for note in notes)


def test_palette_and_bilevel(tmp_path: Path) -> None:
    colours = np.zeros((H, W, 3), np.uint8)
    colours[:, ::2] = (200, 10, 90)
    x, _ = one_image(tmp_path, Image.fromarray(colours).quantize(4), (H, W, 3))
    np.testing.assert_array_equal(x, colours)
    bits = pixels(1, H, W) > 127
    x, _ = one_image(tmp_path, Image.fromarray(bits), (1, H, W))
    np.testing.assert_array_equal(x[0], bits * 255)


@pytest.mark.parametrize("shape", [(1, H, W), (3, H, W), (4, H, W)])
def test_sixteen_bits_are_scaled_not_clipped(shape: tuple[int, ...], tmp_path: Path) -> None:
    words = np.random.default_rng(0).integers(0, 65536, (H, W), dtype=np.uint16)
    words[0, :2] = 0, 65535
    x, _ = one_image(tmp_path, Image.fromarray(words), shape)
    for channel in x[:3]:
        np.testing.assert_allclose(channel, words / 257.0, rtol=1e-5)
    if len(x) == 4:
        assert (x[3] == 255).all()


def test_sizes_must_agree_with_the_model(tmp_path: Path) -> None:
    image = Image.fromarray(pixels(0, 7, 9, 3))
    with pytest.raises(DataError, match=r"'one.png' is 7x9 .*the model takes 5x8.*--resize"):
        one_image(tmp_path, image, (3, H, W))
    x, notes = one_image(tmp_path, image, (3, H, W), resize=True)
    expected = np.asarray(image.resize((W, H), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(x, expected)
    assert f"images resized to {H}x{W} (bilinear)" in notes


def test_resized_words_stay_in_range(tmp_path: Path) -> None:
    words = np.full((7, 9), 65535, np.uint16)
    x, _ = one_image(tmp_path, Image.fromarray(words), (1, H, W), resize=True)
    np.testing.assert_array_equal(x, np.full((1, H, W), 255))


def test_free_sizes_take_what_comes_but_all_must_agree(tmp_path: Path) -> None:
    files = {"a/0.png": PNGS["a/1.png"], "b/0.png": PNGS["b/0.png"]}
    path = write_folder(tmp_path / "set", files)
    data = open_data(path, SPEC, (3, None, None))
    assert data.sample_shape == (3, H, W)
    assert open_data(path, InputSpec(layout="NHWC"), (None,) * 3).sample_shape == (H, W, 3)
    (path / "b/1.png").write_bytes(encoded(pixels(0, 6, 7, 3)))
    for resize in (False, True):
        with pytest.raises(DataError, match=r"is (6x7|5x8) .*others are (5x8|6x7)"):
            open_data(path, SPEC, (3, None, None), resize=resize)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((100, 1), "images of 5x8 do not fit the model's samples 100x1"),
        ((None, None, None), r"images of 5x8 .* \?x\?x\?; declare --layout"),
        ((7, H, W), "images of 5x8 do not fit .* 7x5x8"),
    ],
)
def test_models_that_take_no_images(
    shape: tuple[int | None, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        open_data(write_zip(tmp_path / "a.zip", PNGS), SPEC, shape)


def test_channel_counts_that_no_image_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"samples of shape 7x5x8, layout NCHW.*1, 3 or 4"):
        open_data(write_zip(tmp_path / "a.zip", PNGS), InputSpec(layout="NCHW"), (7, H, W))


# Damage and malice


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz", "zip"])
def test_corrupt_images_are_named(kind: str, tmp_path: Path) -> None:
    cut = {**PNGS, "c/2.png": encoded(pixels(9, H, W, 3))[:60]}
    data = open_data(WRITERS[kind](tmp_path, cut), SPEC, (3, H, W))
    with pytest.raises(DataError, match=r"image 'c/2.png' is corrupt"):
        data.batch(0, 4)
    (tmp_path / "text").mkdir()
    text = {**PNGS, "b/0.png": b"hello"}
    with pytest.raises(DataError, match=r"'b/0.png' is corrupt \(no JPEG or PNG image\)"):
        open_data(WRITERS[kind](tmp_path / "text", text), SPEC, (3, H, W))


def test_other_formats_are_not_decoded(tmp_path: Path) -> None:
    gif = {"a.png": encoded(pixels(0, H, W), "GIF")}
    with pytest.raises(DataError, match=r"'a.png' is corrupt"):
        open_data(write_zip(tmp_path / "a.zip", gif), SPEC, (1, H, W))


def bomb(width: int, height: int) -> bytes:
    """The header of a PNG of that size, and no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_000, 10_000, 20_000])
def test_decompression_bombs(side: int, tmp_path: Path) -> None:
    files = {"a.png": bomb(side, side + 1)}
    with pytest.raises(
        DataError, match=rf"image 'a.png' .*({side}x{side + 1}|{side * (side + 1)})"
    ):
        open_data(write_zip(tmp_path / "a.zip", files), SPEC, (1, None, None))


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
def test_files_too_large_to_be_images(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsa_onnx.inputs.archives.MAX_ENCODED_BYTES", 500)
    path = WRITERS[kind](tmp_path, {**PNGS, "c/9.png": bytes(501)})
    with pytest.raises(DataError, match=r"c/9.png' has (501|more than 500) bytes"):
        open_data(path, SPEC, (3, H, W))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_unsafe_names_are_passed_over(kind: str, tmp_path: Path) -> None:
    bad = {"/etc/a.png": b"x", "../b.png": b"x", "a/../../c.png": b"x"}
    data = open_data(WRITERS[kind](tmp_path, {**bad, **PNGS}), SPEC, (3, H, W))
    assert len(data) == 4
    assert "3 entries ignored (with an absolute path or '..')" in data.notes
    names = {path.name for path in tmp_path.rglob("*")}
    assert names == {f"set.{kind}"}
