"""Damage to what a model says of other files, and to what it stores sparse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto

from tests.fuzz import values
from tests.fuzz.case import TO_DECOY
from tests.fuzz.messages import parts
from tests.fuzz.seeds import WEIGHTS

if TYPE_CHECKING:
    from random import Random

# A link in the folder of every model, which leads to the file that must not be read.
LINK = "link.data"
LOCATIONS = (
    WEIGHTS, LINK, TO_DECOY, "model.onnx", "model.lsa.toml", ".", "..", "./", "", "no.such",
    f"./{WEIGHTS}", f"sub/../{WEIGHTS}", f"../case/{WEIGHTS}", "/etc/passwd", "/dev/zero",
    "/dev/stdin", "/proc/self/environ", "/proc/self/mem", "file:///etc/passwd",
    "C:\\windows\\win.ini", "\\\\server\\share", "..\\outside\\decoy.bin", "*/_ORT_MEM_ADDR_/*",
    "weights.data\x00.txt", "~/.bashrc", "a" * 300, "\x1b[31mweights", "link.data/x", "data.npz",
)  # fmt: skip
_KEYS = ("location", "offset", "length", "checksum", "basepath", "unknown", "")


def make_external(rng: Random, model: onnx.ModelProto) -> None:
    """A constant whose data lie elsewhere, by an entry that may be hostile."""
    held = [each for each in parts(model) if isinstance(each, TensorProto)]
    tensor = rng.choice(held) if held else model.graph.initializer.add()
    tensor.data_location = TensorProto.EXTERNAL
    if rng.random() < 0.7:
        tensor.ClearField("raw_data")
    if not tensor.external_data or rng.random() < 0.3:
        tensor.external_data.add(key="location", value=rng.choice(LOCATIONS))
    change_entry(rng, model)


def change_entry(rng: Random, model: onnx.ModelProto) -> None:
    """Another location, offset, length or key."""
    held = [each for each in parts(model) if isinstance(each, TensorProto) and each.external_data]
    if not held:
        return
    tensor = rng.choice(held)
    entry = rng.choice(tensor.external_data)
    if rng.random() < 0.3:
        entry = tensor.external_data.add()
    entry.key = rng.choice(_KEYS)
    number = rng.choice((str(values.integer(rng)), "0x10", " 4", "4.0", "٤", "-4", "1e3", ""))
    entry.value = rng.choice(LOCATIONS) if entry.key in ("location", "basepath") else number


def change_places(rng: Random, model: onnx.ModelProto) -> None:
    """Odd places or sizes of a sparse constant; a constant that becomes one."""
    held = list(model.graph.sparse_initializer)
    if not held and model.graph.initializer:
        made = model.graph.sparse_initializer.add()
        made.values.CopyFrom(rng.choice(model.graph.initializer))
        made.indices.CopyFrom(rng.choice(model.graph.initializer))
        made.dims.extend(made.values.dims)
        held = [made]
    for each in held:
        each.dims.append(values.integer(rng))
        each.dims[:] = each.dims[rng.randint(0, 1) :]
        places = [values.integer(rng) for _ in range(rng.randint(0, 4))]
        each.indices.CopyFrom(
            onnx.helper.make_tensor("p", TensorProto.INT64, [len(places)], places)
        )


CHANGES = (make_external, change_entry, change_places)
