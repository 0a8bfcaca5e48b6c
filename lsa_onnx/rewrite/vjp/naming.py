"""Names that are new to a model, and the constants that come with written nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]


class Names:
    """Makes names that nothing in the model has, and keeps the constants of one model, each once."""

    def __init__(self, suffix: str) -> None:
        """Start.

        Args:
            suffix: A text that no name of the model contains.
        """
        self._suffix = suffix
        self._count = 0
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.initializers: list[onnx.TensorProto] = []

    def fresh(self, stem: str) -> str:
        """A new name that starts with ``stem``."""
        self._count += 1
        return f"{stem}{self._suffix}_{self._count}"

    def constant(self, array: Array) -> str:
        """The name of an initializer that holds ``array``."""
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.fresh("constant")
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), self._constants[key])
            # ascontiguousarray makes a vector of a scalar.
            del tensor.dims[:]
            tensor.dims.extend(array.shape)
            self.initializers.append(tensor)
        return self._constants[key]
