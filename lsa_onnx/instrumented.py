"""The instrumented model as a file that anybody can run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import EncodeError

from lsa_onnx.errors import DataError, ModelError
from lsa_onnx.files import check_writable, write_atomically
from lsa_onnx.layers import make_readable, plan_layers
from lsa_onnx.model import Model, load_model, with_weights
from lsa_onnx.rewrite import expose
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.inspection import observed_ranks, survey

if TYPE_CHECKING:
    import onnx


def write_exposed(
    path: str | Path, output: str | Path, selectors: Iterable[str], device: Device
) -> list[str]:
    """Write a copy of the model at ``path`` that also returns the chosen layers.

    Layers of bodies are returned with an axis of executions in front; those that hold no plain
    floats as floats.

    Args:
        path: The model.
        output: The file to write; not the model itself. Beside a model with external data the copy
            shares that data; elsewhere it carries all weights inside.
        selectors: See ``lsa_onnx.layers.plan_layers``.
        device: Where the model is to run.

    Returns:
        The names of the outputs that were added.

    Raises:
        LsaError: The model cannot be read, nothing matches, or the file cannot be written.
    """
    target = Path(output)
    if target.exists() and Path(path).exists() and target.samefile(path):
        raise DataError(f"-o {str(output)!r} is the model itself; name another file")
    check_writable(target)
    model = load_model(path)
    found = survey(model.proto, model.folder, device)
    plan = plan_layers(found, selectors)
    readable = make_readable(model.proto, found, plan)
    reads = [readable.reads[info.tensor] for info in plan.layers]
    shapes = {
        read.tensor: [None, *info.shape]
        if read.executions and info.shape is not None
        else info.shape
        for read, info in zip(reads, plan.layers, strict=True)
    }
    unknown = [name for name, shape in shapes.items() if shape is None]
    # onnx.checker wants a shape on every output; only a run tells the rank of these.
    ranks = observed_ranks(readable.model, model.folder, device, unknown) if unknown else {}
    shapes |= {name: [None] * rank for name, rank in ranks.items()}
    declared = {read.tensor: (read.element, shapes[read.tensor]) for read in reads}
    exposed = expose(readable.model, list(declared), declared)
    write_atomically(target, _serialised(model, exposed, target))
    return list(declared)


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
