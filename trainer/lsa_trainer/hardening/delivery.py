"""The trained weights as a file: a draft, what it is held to, and the file that appears at last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lsa_onnx.model import digest
from lsa_onnx.report.sections import FileDigest
from lsa_trainer.hardening.drafts import draft_prefix
from lsa_trainer.hardening.parity import differences, require_parity, tolerance
from lsa_trainer.hardening.prepare import Prepared
from lsa_trainer.hardening.reexport import Reexported, reexport
from lsa_trainer.hardening.verdict import inputs_of
from lsa_trainer.writeback import Placement, Staged, stage, verify_written

Array = NDArray[Any]
# Samples on which a file is compared with the original and with torch.
COMPARED = 8


@dataclass(frozen=True)
class Delivery:
    """How trained weights get into a file.

    Attributes:
        model: The file that they came from.
        output: The file to write.
        folder: Of the run.
        prepared: Holds the weights as they are now.
        reexported: Export the module anew, in place of writing weights into the graph that there is.
    """

    model: Path
    output: Path
    folder: Path
    prepared: Prepared
    reexported: bool = False

    def draft(self, metadata: Mapping[str, str]) -> Staged | Reexported:
        """The new file before it appears.

        Raises:
            LsaError: It cannot be made.
        """
        prefix = draft_prefix(self.folder)
        if self.reexported:
            return reexport(self.prepared, self.output, metadata, prefix)
        return stage(self.model, self.output, self._placements(), metadata, prefix)

    def verify(self, draft: Staged | Reexported) -> None:
        """Hold a draft to the original, and to torch; an export was held to torch when it was made.

        Raises:
            ModelError: It differs in more than weights, or says something else than torch.
        """
        if self.reexported:
            return
        verify_written(self.model, draft.path, inputs_of(self.prepared, COMPARED))
        alone = inputs_of(self.prepared, self.prepared.per_run(COMPARED))
        allowed = tolerance(self.prepared.subject.model.proto)
        require_parity(differences(self.prepared.module, draft.path, alone), allowed)

    def publish(self, metadata: Mapping[str, str]) -> list[FileDigest]:
        """Let the file appear; what was written.

        Raises:
            LsaError: It cannot be written, or is not what it should be; nothing has changed then.
        """
        with self.draft(metadata) as final:
            if not self.reexported:
                verify_written(self.model, final.path)
            final.publish()
            return [digest(path) for path in final.files]

    def _placements(self) -> dict[Placement, Array]:
        """Every weight that was trained and every statistic that moved, at its place in the file."""
        module, job = self.prepared.module, self.prepared.job
        initializers = {t.name for t in self.prepared.subject.model.proto.graph.initializer}

        def place(name: str, use: tuple[str, int] | None) -> Placement:
            return Placement(name, "initializer" if name in initializers else "constant", use)

        sources, changed = module.constants.sources, {**job.parameters, **job.statistics}
        return {place(*sources[name]): t.detach().cpu().numpy() for name, t in changed.items()}
