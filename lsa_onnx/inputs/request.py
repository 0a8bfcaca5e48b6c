"""What ``open_data`` is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsa_onnx.inputs.memory import Arrays
from lsa_onnx.inputs.spec import InputSpec, SampleShape
from lsa_onnx.inputs.units import Units


@dataclass(frozen=True)
class Request:
    """As ``open_data`` documents them."""

    path: Path | Arrays
    spec: InputSpec
    sample_shape: SampleShape
    units: Units
    labels: str | None
    x_key: str | None
    y_key: str | None
    samples: int | None
    seed: int
    split: str | None
    split_if_any: bool
    resize: bool
    input_names: Sequence[str]
    whole: Mapping[str, SampleShape]
    classes: bool
    single: bool

    @property
    def source(self) -> str:
        """The path or the arrays, as messages name them."""
        return repr(str(self.path)) if isinstance(self.path, Path) else str(self.path)

    @property
    def is_number(self) -> bool:
        """Whether the array of the samples may be a single number."""
        return self.single and not self.sample_shape

    @property
    def numbers(self) -> list[str]:
        """The inputs whose arrays may be single numbers."""
        own = self.input_names[:1] if self.is_number else ()
        return [*own, *(name for name, shape in self.whole.items() if not shape)]
