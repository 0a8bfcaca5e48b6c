"""Whether a leading dimension above 1 counts samples, asked of the model itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.errors import ModelError
from lsa_onnx.model import Model
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.matching import own_axis, relative_difference
from lsa_onnx.runtime.session import Session

Array = NDArray[Any]

_TOLERANCE = 1e-3


def counts_samples(
    model: Model,
    feeds: Mapping[str, Array],
    rows: Collection[str],
    outputs: Sequence[str],
    device: Device,
) -> bool | None:
    """Whether each of N > 1 rows of the inputs decides its own row of every output.

    Rolling the rows must roll the outputs, and another row must change its own outputs alone.

    Args:
        model: The model.
        feeds: All its inputs, as it takes them.
        rows: Those of them that have N rows; no two rows are alike in one of them at least.
        outputs: Outputs that are tensors.
        device: Where to run.

    Returns:
        ``None`` where the model does not run on such values, or draws random numbers, so that nothing can be
        told.
    """
    size = len(feeds[next(iter(rows))])

    def run(change: Callable[[Array], Array]) -> dict[str, Array]:
        changed = {name: change(value) if name in rows else value for name, value in feeds.items()}
        return session.run(changed, outputs)

    try:
        session = Session(model.proto, device, model.folder)
        first, again = run(np.asarray), run(np.asarray)
        rolled = run(lambda value: np.roll(value, 1, axis=0))
        other = run(lambda value: np.concatenate([value[1:2], value[1:]]))
    except ModelError:
        return None
    if not all(_is_same(first[name], again[name]) for name in outputs):
        return None
    return all(
        own_axis(first[name], rolled[name], other[name], size, _TOLERANCE) == 0 for name in outputs
    )


def _is_same(first: Array, again: Array) -> bool:
    return first.shape == again.shape and relative_difference(again, first) <= _TOLERANCE
