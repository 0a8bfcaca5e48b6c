"""Cases of damaged data and labels, for a sound model."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tests import graphs
from tests.fuzz import raw_bytes, values
from tests.fuzz.archives import npy_bytes, npz_bytes
from tests.fuzz.arrays import idx_file, images, labels, npy_file, npz_file
from tests.fuzz.case import Case
from tests.fuzz.models import MODEL
from tests.fuzz.pictures import ARCHIVES, picture_files

if TYPE_CHECKING:
    from random import Random

_QUICK = ("--device", "cpu", "-q", "--attack", "fgsm")
_OPTIONS = (
    (), (), (), (), (), (), ("--resize",), ("--samples", "2"), ("--split", "test"),
    ("--split", "train?"), ("--range", "0,255"), ("--layout", "NHWC"), ("--x-key", "x"),
    ("--y-key", "y"), ("--labels", "none"), ("--mean", ".5,.5,.5", "--std", "1,1,1"),
    ("--batch", "1"), ("--expect-accuracy", "0.1"),
)  # fmt: skip


@cache
def _model(name: str) -> bytes:
    sound = {"images": graphs.conv_net, "two": graphs.two_input_net, "numbers": graphs.elu_mlp}
    content: bytes = sound[name]().SerializeToString(deterministic=True)
    return content


def data_case(rng: Random) -> Case:
    """Data that are damaged, or labels or held inputs that are, and a command that reads them."""
    choice = rng.random()
    if choice < 0.7:
        return _samples(rng)
    if choice < 0.85:
        return _labels(rng)
    return _held(rng) if choice < 0.95 else _perturbed(rng)


def _sound_images() -> graphs.Array:
    return graphs.samples(0, 5, 3, 5, 7)


def _samples(rng: Random) -> Case:
    files, path = _container(rng)
    command = rng.choice(("scan", "evaluate"))
    writes = ("--save-adversarial", "adversarial.npz") if rng.random() < 0.1 else ()
    arguments = (command, MODEL, "--data", path, *rng.choice(_OPTIONS), *writes, *_QUICK)
    return Case({MODEL: _model("images"), **files}, arguments, tuple(writes[1:]))


def _container(rng: Random) -> tuple[dict[str, bytes], str]:
    """Files and the path that leads to them."""
    kind = rng.choice(("npz", "npz", "npz", "npy", "idx", "tar", "zip", "folder"))
    if kind == "folder":
        return _folder(rng), "data"
    if kind == "npy":
        content = npy_file(rng, images(rng))
    elif kind == "idx":
        content = idx_file(rng, images(rng))
    else:
        content = npz_file(rng) if kind == "npz" else ARCHIVES[kind](rng)
    if rng.random() < 0.25:
        content = raw_bytes.damaged(rng, content)
    name = (
        f"data.{kind}"
        if rng.random() < 0.9
        else rng.choice(("data", "data.bin", "data.npz", "data.zip"))
    )
    return {name: content}, name


def _folder(rng: Random) -> dict[str, bytes]:
    """Images as files, under the names that a file may have."""
    found: dict[str, bytes] = {"data/a/0.txt": b""}
    for name, content in picture_files(rng).items():
        path = PurePosixPath("data", name.lstrip("/"))
        clash = any(
            path in PurePosixPath(o).parents or PurePosixPath(o) in path.parents for o in found
        )
        if ".." not in path.parts and not clash:
            found[str(path)] = content
    return found


def _labels(rng: Random) -> Case:
    x = _sound_images()
    content = rng.choice((_text_labels, _array_labels))(rng)
    if rng.random() < 0.3:
        content = raw_bytes.damaged(rng, content)
    model = rng.choice(("images", "images", "numbers"))
    data = npy_bytes(x if model == "images" else x.reshape(5, -1)[:, :2])
    arguments = (
        rng.choice(("scan", "evaluate")),
        MODEL,
        "--data",
        "x.npy",
        "--labels",
        "labels",
        *_QUICK,
    )
    return Case({MODEL: _model(model), "x.npy": data, "labels": content}, arguments)


def _text_labels(rng: Random) -> bytes:
    lines = [str(rng.randrange(6)) for _ in range(5)]
    odd = rng.choice(
        (values.text(rng), str(values.integer(rng)), repr(values.number(rng)), "1_0", "٣", "0x1")
    )
    lines[rng.randrange(5)] = odd
    return rng.choice(("\n", "\r\n", "\n\n", ",", "\u2028")).join(lines).encode()


def _array_labels(rng: Random) -> bytes:
    y = labels(rng, rng.choice((5, 5, 5, 4, 0)))
    choice = rng.random()
    if choice < 0.6:
        return npy_file(rng, y)
    if choice < 0.8 and y.dtype.kind in "bifu":
        return idx_file(rng, y)
    return npz_bytes(**{rng.choice(("y", "labels", "z")): y})


def _held(rng: Random) -> Case:
    x = npz_bytes(a=graphs.samples(0, 4, 5))
    sound = graphs.samples(1, rng.choice((4, 4, 1, 3)), rng.choice((3, 3, 4)))
    content = npy_file(rng, sound)
    if rng.random() < 0.4:
        content = raw_bytes.damaged(rng, content)
    value = rng.choice(
        ("b=b.npy", "b=b.npy", "b=b.npy", "b=nan", "b=1e39", "b=", "=b.npy", "a=b.npy", "z=b.npy")
    )
    files = {MODEL: _model("two"), "a.npz": x, "b.npy": content}
    return Case(files, ("scan", MODEL, "--data", "a.npz", "--hold", value, *_QUICK))


def _perturbed(rng: Random) -> Case:
    files = {
        MODEL: _model("images"),
        "x.npy": npy_bytes(_sound_images()),
        "p.npz": npz_file(rng),
    }
    if rng.random() < 0.4:
        files["p.npz"] = raw_bytes.damaged(rng, files["p.npz"])
    return Case(files, ("scan", MODEL, "--data", "x.npy", "--perturbed", "p.npz", *_QUICK))
