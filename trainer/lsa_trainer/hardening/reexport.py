"""``--reexport``: the trained module as a new file, in place of new weights in the old one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lsa_onnx.errors import ModelError
from lsa_onnx.files import write_atomically
from lsa_trainer.export import exported
from lsa_trainer.hardening.parity import widened
from lsa_trainer.hardening.prepare import Prepared
from lsa_trainer.hardening.verdict import inputs_of
from lsa_trainer.writeback.provenance import add_metadata

if TYPE_CHECKING:
    import onnx
    from typing_extensions import Self

_SAMPLES = 8


@dataclass
class Reexported:
    """A new file in a private folder beside its target, as ``writeback.Staged`` is.

    Attributes:
        path: Where it is until it is published.
        target: The file that ``publish`` makes of it.
    """

    path: Path
    target: Path
    _folder: tempfile.TemporaryDirectory[str]

    @property
    def files(self) -> list[Path]:
        """What ``publish`` writes."""
        return [self.target]

    def publish(self) -> None:
        """Let the file appear.

        Raises:
            DataError: It cannot be written.
        """
        write_atomically(self.target, self.path.read_bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def reexport(
    prepared: Prepared, target: Path, metadata: Mapping[str, str], prefix: str
) -> Reexported:
    """Export the module as its weights are now.

    Metadata of the original stay, and those given join them. The name of the private folder begins
    with ``prefix``.

    Raises:
        ModelError: torch cannot, or ONNX Runtime computes something else than torch.
    """
    proto = reexported_model(prepared)
    original = prepared.subject.model.proto.metadata_props
    add_metadata(proto, {entry.key: entry.value for entry in original})
    add_metadata(proto, metadata)
    folder = tempfile.TemporaryDirectory(dir=target.resolve().parent, prefix=prefix)
    path = Path(folder.name) / target.name
    write_atomically(path, proto.SerializeToString())
    return Reexported(path, target, folder)


def reexported_model(prepared: Prepared) -> onnx.ModelProto:
    """The model that torch exports, with inputs and outputs of the original, half precision as float32.

    Raises:
        ModelError: See ``reexport``.
    """
    module = prepared.module
    feeds = inputs_of(prepared, prepared.per_run(_SAMPLES))
    device = next(module.parameters()).device
    given = [widened(torch.tensor(feeds[name], device=device)) for name in module.input_names]
    try:
        return exported(
            module,
            given,
            module.input_names,
            module.output_names,
            free_batch=module.batch_is_free and prepared.subject.layout.free,
        )
    except ModelError as error:
        raise ModelError(
            f"--reexport: {error}; without --reexport the new weights go into the original graph"
        ) from error
