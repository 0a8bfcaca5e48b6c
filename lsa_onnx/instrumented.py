"""The instrumented model as a file that anybody can run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import EncodeError

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.files import check_writable, write_atomically
from lsa_onnx.layers import plan_layers
from lsa_onnx.layers.operators import FLOAT_ELEMENTS
from lsa_onnx.model import Model, load_model, with_weights
from lsa_onnx.report.document import LayerInfo
from lsa_onnx.rewrite import expose
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.inspection import observed_ranks, tensor_types

if TYPE_CHECKING:
    import onnx


def write_exposed(
    path: str | Path, output: str | Path, selectors: Iterable[str], device: Device
) -> list[str]:
    """Write a copy of the model at ``path`` that also returns the chosen layers.

    Args:
        path: The model.
        output: The file to write; not the model itself. Beside a model with external data the copy
            shares that data; elsewhere it carries all weights inside.
        selectors: See ``lsa_onnx.layers.plan_layers``.
        device: Where the model is to run.

    Returns:
        The names of the exposed tensors.

    Raises:
        LsaError: The model cannot be read, nothing matches, or the file cannot be written.
    """
    target = Path(output)
    if target.exists() and Path(path).exists() and target.samefile(path):
        raise DataError(f"-o {str(output)!r} is the model itself; name another file")
    check_writable(target)
    model = load_model(path)
    types = tensor_types(model.proto, model.folder, device)
    layers = plan_layers(model.proto, types, selectors).layers
    unknown = [info.tensor for info in layers if info.shape is None]
    # onnx.checker wants a shape on every output; only a run tells the rank of these.
    ranks = observed_ranks(model.proto, model.folder, device, unknown) if unknown else {}
    declared = {info.tensor: (FLOAT_ELEMENTS[info.dtype], _shape(info, ranks)) for info in layers}
    exposed = expose(model.proto, list(declared), declared)
    write_atomically(target, _serialised(model, exposed, target))
    return list(declared)


def _shape(info: LayerInfo, ranks: Mapping[str, int]) -> list[int | str | None] | None:
    if info.shape is not None or info.tensor not in ranks:
        return info.shape
    return [None] * ranks[info.tensor]


def _serialised(model: Model, exposed: onnx.ModelProto, target: Path) -> bytes:
    shares_data = bool(model.sidecars) and target.parent.resolve() == model.folder
    complete = exposed if shares_data else with_weights(model, exposed)
    try:
        content: bytes = complete.SerializeToString()
    except (EncodeError, ValueError):
        raise ModelError(
            f"{str(model.path)!r} is too large for a single file (the limit is 2 GiB); "
            f"write the copy beside it, in {str(model.folder)!r}, where it can share the weights"
        ) from None
    return content
