"""Whether a leading dimension above 1 counts samples, asked of the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.inputs import InputSpec
from lsa_onnx.model import Model
from lsa_onnx.report.document import ValueDescription
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.matching import own_axis
from lsa_onnx.runtime.session import Session

Array = NDArray[Any]

_TOLERANCE = 1e-3


def counts_samples(
    model: Model,
    target: ValueDescription,
    outputs: Sequence[str],
    spec: InputSpec,
    device: Device,
) -> bool:
    """Whether each row of an input of N > 1 rows decides its own row of every output.

    Rolling random rows must roll the outputs, and another row must change its own outputs alone.

    Args:
        model: The model.
        target: Its only input; free dimensions are taken as 1.
        outputs: Outputs that are tensors.
        spec: What the values of the input mean.
        device: Where to run.

    Returns:
        Also true where the model does not run on such values: what is wrong is found out later.
    """
    shape = [size if isinstance(size, int) else 1 for size in target.shape or ()]
    rng = np.random.default_rng(0)
    x = (spec.low + spec.width * rng.random(shape)).astype(target.dtype)
    changed = np.concatenate([x[1:2], x[1:]])
    try:
        session = Session(model.proto, device, model.folder)
        first, rolled, other = (
            session.run({target.name: rows}, outputs)
            for rows in (x, np.roll(x, 1, axis=0), changed)
        )
    except ModelError:
        return True
    return all(
        own_axis(first[name], rolled[name], other[name], shape[0], _TOLERANCE) == 0
        for name in outputs
    )
