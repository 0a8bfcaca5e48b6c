"""What is perturbed: an input of floats, or an inner tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.model import Model
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.rewrite.embeddings import find_embedding
from lsa_onnx.rewrite.graph import dependents, node_inputs, true_inputs
from lsa_onnx.rewrite.promote import require_inner
from lsa_onnx.scanning.held import require_inputs
from lsa_onnx.scanning.options import SubjectOptions

if TYPE_CHECKING:
    import onnx

FLOAT_INPUTS = {"float32": np.float32, "float64": np.float64, "float16": np.float16}
_ID_INPUTS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})


def choose_target(model: Model, options: SubjectOptions) -> tuple[ValueDescription, str | None]:
    """The input that the samples are for, and the inner tensor to perturb in its place, if any.

    By default the first input of floats that an output depends on; without one, the embedding of ids.

    Raises:
        DataError: A name is not known.
        ModelError: There is nothing to perturb.
    """
    wanted, inner = options.perturb, options.perturb_at
    if inner is not None:
        if wanted is not None:
            raise DataError(
                f"--perturb {wanted!r} and --perturb-at {inner!r} name two things to perturb; give one"
            )
        return _source_of(model, inner), inner
    if wanted is not None:
        known = [value.name for value in model.inputs]
        require_inputs("--perturb", [wanted], known, "an input of the model")
    floats = [value for value in model.inputs if value.dtype in FLOAT_INPUTS]
    chosen = [value for value in floats if wanted in (None, value.name)]
    useful = [value for value in chosen if _matters(model.proto, value.name)]
    if useful:
        return useful[0], None
    embedding = find_embedding(model.proto) if wanted is None else None
    if embedding is not None:
        (source,) = [value for value in model.inputs if value.name == embedding.source]
        return source, embedding.tensor
    if chosen:
        return chosen[0], None
    raise _nothing(model, wanted)


def unread_inputs(proto: onnx.ModelProto) -> set[str]:
    """Inputs that must be fed though nothing depends on them."""
    read = {name for node in proto.graph.node for name in node_inputs(node)}
    read |= {value.name for value in proto.graph.output}
    return {value.name for value in true_inputs(proto.graph)} - read


def _matters(proto: onnx.ModelProto, name: str) -> bool:
    """Whether an output depends on the values of an input."""
    reached = dependents(proto.graph, [name], by_value=True)
    return any(value.name in reached for value in proto.graph.output)


def _source_of(model: Model, tensor: str) -> ValueDescription:
    """The input that samples are for where ``tensor`` is perturbed.

    Of an embedding, that with its ids; else the first of floats that the tensor depends on, or of ids.
    """
    require_inner(model.proto, tensor)
    embedding = find_embedding(model.proto)
    name = embedding.source if embedding and embedding.tensor == tensor else None
    usable = [v for v in model.inputs if v.dtype in FLOAT_INPUTS or v.dtype in _ID_INPUTS]
    usable.sort(key=lambda value: (value.name != name, value.dtype not in FLOAT_INPUTS))
    for value in usable:
        if tensor in dependents(model.proto.graph, [value.name]):
            return value
    raise ModelError(
        f"cannot perturb {tensor!r}: it depends on no input of numbers, and inputs are "
        f"{_listed(model.inputs)}; give another tensor with --perturb-at"
    )


def _nothing(model: Model, wanted: str | None) -> ModelError:
    what = "no float input to perturb" if wanted is None else f"--perturb {wanted!r} is no float"
    return ModelError(
        f"{what} in {str(model.path)!r}: its inputs are {_listed(model.inputs)}; an inner tensor of floats "
        "can be perturbed instead, give its name with --perturb-at"
    )


def _listed(values: Sequence[ValueDescription]) -> str:
    return ", ".join(f"{value.name!r} ({value.dtype})" for value in values) or "none"
