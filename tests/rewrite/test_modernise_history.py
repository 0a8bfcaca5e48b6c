"""ONNX's own account of what changed, and its own models, against the table of converters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.case import node as node_cases
from onnx.backend.test.loader import load_model_tests

from lsa_onnx.rewrite.graph import opset, true_inputs
from lsa_onnx.rewrite.modernise import TARGET
from lsa_onnx.rewrite.modernise.table import CONVERTERS
from tests import graphs
from tests.rewrite.modernised import assert_same

OLDEST = 7
# What the signatures do not show: (operator, opset that gave it another meaning).
MEANINGS = {
    ("BatchNormalization", 14),  # more outputs no longer mean training mode
    ("Dropout", 10),  # the type of the mask
    ("Resize", 18),  # scales and sizes exclude each other
    ("RoiAlign", 16),  # where samples lie by default
    ("Split", 18),  # equal parts are to be counted
}
# No schema tells of operators that left before opset 10, or of those that ONNX Runtime had first.
EXPERIMENTAL = {"Affine", "ImageScaler", "ParametricSoftplus", "Scale", "ScaledTanh"}
EARLY = {"ThresholdedRelu"}
# Its large networks, without their weights; the others take hundreds of megabytes when run.
LIGHT = ["densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet"]
# Cases of ONNX that cannot be compared.
LEFT_OUT = {
    "test_convinteger_with_padding",  # ONNX Runtime refuses the shape of its zero point
    "test_scan_sum",  # the batched Scan of opset 8, which is refused
}


def forms() -> Iterator[tuple[onnx.defs.OpSchema, onnx.defs.OpSchema]]:
    """Each form of an operator since opset 7, and the one that replaced it by opset 18."""
    history: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= TARGET:
            history.setdefault(schema.name, []).append(schema)
    for schemas in history.values():
        schemas.sort(key=lambda schema: schema.since_version)
        for old, new in pairwise(schemas):
            if new.since_version > OLDEST:
                yield old, new


def only_adds(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    """Whether any node of the old form is one of the new form, by signature."""
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    for before, after in ((old.inputs, new.inputs), (old.outputs, new.outputs)):
        if len(after) < len(before) or any(
            extra.option != optional for extra in after[len(before) :]
        ):
            return False
        if any(a.option not in (b.option, optional) for b, a in zip(before, after, strict=False)):
            return False
    kept = all(
        name in new.attributes and new.attributes[name].default_value == attribute.default_value
        for name, attribute in old.attributes.items()
    )
    extra = (a for name, a in new.attributes.items() if name not in old.attributes)
    return kept and not new.deprecated and not any(a.required for a in extra)


def test_every_change_has_a_converter_and_every_converter_a_change() -> None:
    changed = {(new.name, new.since_version) for old, new in forms() if not only_adds(old, new)}
    assert len(changed) > 25
    listed = {(op, until) for op, steps in CONVERTERS.items() for until, _ in steps}
    dropped = {(op, 10) for op in EXPERIMENTAL | EARLY}
    assert listed == changed | MEANINGS | dropped


def test_the_steps_of_an_operator_are_in_order() -> None:
    for op, steps in CONVERTERS.items():
        opsets = [until for until, _ in steps]
        assert opsets == sorted(set(opsets)), op
        assert opsets[-1] <= TARGET


def test_dropped_operators_were_never_in_these_opsets() -> None:
    for op in EXPERIMENTAL | EARLY:
        with pytest.raises(onnx.defs.SchemaError):
            onnx.defs.get_schema(op, 9, "")


def runs(model: onnx.ModelProto) -> bool:
    """Whether ONNX Runtime has kernels for the model."""
    try:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - its errors share no base class, and any of them means no
        return False
    return True


def as_array(path: Path) -> NDArray[Any]:
    return numpy_helper.to_array(onnx.load_tensor(path))


@pytest.mark.conformance
@pytest.mark.parametrize("kind", ["simple", "pytorch-converted", "pytorch-operator"])
def test_models_of_onnx(kind: str) -> None:
    compared = 0
    for case in load_model_tests(kind=kind):
        folder = Path(str(case.model_dir))
        model = onnx.load(folder / "model.onnx")
        feeds = sorted((folder / "test_data_set_0").glob("input_*.pb"))
        names = [value.name for value in model.graph.input]
        tensors = all(v.type.HasField("tensor_type") for v in model.graph.input)
        if opset(model) >= TARGET or not tensors or not runs(model):
            continue
        constants = {t.name for t in model.graph.initializer}
        fed = [name for name in names if name not in constants]
        arrays = {name: as_array(path) for name, path in zip(fed, feeds, strict=True)}
        assert_same(model, arrays, rel=1e-6)
        compared += 1
    assert compared >= {"simple": 15, "pytorch-converted": 50, "pytorch-operator": 15}[kind]


@pytest.mark.conformance
@pytest.mark.parametrize("name", LIGHT)
def test_networks_of_onnx(name: str) -> None:
    model = onnx.load(Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx")
    feeds = {
        value.name: graphs.samples(0, *(d.dim_value for d in value.type.tensor_type.shape.dim))
        for value in true_inputs(model.graph)
    }
    assert_same(model, feeds, rel=1e-5)


@pytest.mark.conformance
@pytest.mark.slow
def test_node_cases_of_onnx() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = node_cases.collect_testcases(None)
    compared = 0
    for case in cases:
        model, data = case.model, case.data_sets
        assert model is not None
        assert data is not None
        if case.name in LEFT_OUT or not 0 < opset(model) < TARGET or not runs(model):
            continue
        names = [value.name for value in model.graph.input]
        for arrays, _ in data:
            # Declared as arrays, some are sequences or empty optionals, and some numpy scalars.
            inputs: list[Any] = list(arrays)
            fed = [np.asarray(v) if isinstance(v, np.generic) else v for v in inputs]
            assert_same(model, dict(zip(names, fed, strict=True)), rel=1e-6)
        compared += 1
    assert compared > 500
