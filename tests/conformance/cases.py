"""The models of ONNX's own conformance suite, with the inputs that come with them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from lsa_onnx.rewrite.graph import copy_model, opset, true_inputs

# What a newer opset means is the same in this one for most operators, and ONNX Runtime runs it.
NEWEST = 25
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator")
# ONNX's large networks that fit a test. They come without weights: see ``_with_weights``.
LIGHT = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")
# The rest of them, of 240 to 575 MB: for what looks at each network once.
HEAVY = ("bvlc_alexnet", "vgg19", "zfnet512")
_EXPANDED = "_expanded"


@dataclass(frozen=True)
class Case:
    """A model and a point.

    Attributes:
        name: As ONNX names it.
        group: The operator that it is about, or the kind of model.
        model: The model.
        feeds: Input → value: arrays, and lists or ``None`` for sequences and optionals.
        expected: Output → what ONNX expects there, likewise; nothing where it does not say.
    """

    name: str
    group: str
    model: onnx.ModelProto
    feeds: dict[str, Any]
    expected: dict[str, Any] = field(default_factory=dict)


@cache
def node_cases() -> tuple[Case, ...]:
    """The tests of single operators, also those in which their function body stands for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)
    about = {case.name: _subject(case.model) for case in found}
    cases = []
    for case in found:
        assert case.model is not None
        assert case.data_sets is not None
        given, wanted = case.data_sets[0]
        group = about.get(case.name.split(_EXPANDED)[0], about[case.name])
        feeds, expected = (
            _named(case.model.graph.input, given),
            _named(case.model.graph.output, wanted),
        )
        cases.append(Case(case.name, group, runnable(case.model), feeds, expected))
    return tuple(cases)


def folder_cases() -> Iterator[Case]:
    """The models that ONNX keeps as files, by kind."""
    for kind in FOLDERS:
        for case in load_model_tests(kind=kind):
            folder = Path(str(case.model_dir))
            model = onnx.load(folder / "model.onnx")
            feeds = _kept(folder, "input", true_inputs(model.graph))
            expected = _kept(folder, "output", model.graph.output)
            yield Case(case.name, kind, runnable(model), feeds, expected)


def light_cases(names: Sequence[str] = LIGHT) -> Iterator[Case]:
    """Networks of ONNX's model zoo, their weights drawn at random, and an image of noise."""
    for name in names:
        path = Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
        rng = np.random.default_rng(0)
        model = _with_weights(onnx.load(path), rng)
        feeds = {
            value.name: rng.standard_normal(
                [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            ).astype(np.float32)
            for value in true_inputs(model.graph)
        }
        yield Case(path.stem, "light", model, feeds)


def _with_weights(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """The network with random weights, where it has equal ones that a node makes.

    With those every logit is the same, and the gradient of their softmax is 0.
    """
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type != "ConstantOfShape" or node.input[0] not in shapes:
            continue
        shape = tuple(shapes[node.input[0]])
        if len(shape) > 1:
            scale = np.sqrt(2 / np.prod(shape[1:]))
            drawn = (rng.standard_normal(shape) * scale).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(drawn, node.output[0]))
            model.graph.node.remove(node)
    return model


def _subject(model: onnx.ModelProto | None) -> str:
    assert model is not None
    node = next(
        n for n in model.graph.node if n.op_type != "Constant" or len(model.graph.node) == 1
    )
    return f"{node.domain}::{node.op_type}" if node.domain else str(node.op_type)


def runnable(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, with an opset that ONNX Runtime has if that knows all of its operators."""
    if opset(model) <= NEWEST or not all(map(_is_older, model.graph.node)):
        return model
    lowered = copy_model(model)
    for imported in lowered.opset_import:
        if imported.domain == "":
            imported.version = NEWEST
    lowered.ir_version = min(lowered.ir_version, 11)
    return lowered


def _is_older(node: onnx.NodeProto) -> bool:
    try:
        onnx.defs.get_schema(node.op_type, NEWEST, node.domain)
    except onnx.defs.SchemaError:
        return False
    return True


def _named(values: Iterable[onnx.ValueInfoProto], given: Iterable[Any]) -> dict[str, Any]:
    # Cases leave out trailing inputs that are optional.
    return {value.name: _as_array(item) for value, item in zip(values, given, strict=False)}


def _as_array(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic | np.ndarray) else value


def _kept(folder: Path, kind: str, values: Sequence[onnx.ValueInfoProto]) -> dict[str, Any]:
    """The values of the files ``{kind}_0.pb``, ..."""
    files = (folder / "test_data_set_0").glob(f"{kind}_*.pb")
    ordered = sorted(files, key=lambda path: int(path.stem.split("_")[1]))
    return {v.name: _read(path, v.type) for v, path in zip(values, ordered, strict=True)}


def _read(path: Path, kind: onnx.TypeProto) -> Any:
    data = path.read_bytes()
    if kind.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))
