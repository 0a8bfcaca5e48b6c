"""Trained weights back into the file that they came from: the same graph, names and packaging.

``stage`` writes the new file into a private folder beside its target; once ``verify_written``, and
whatever else the caller asks of it, has passed, ``publish`` lets it appear.
"""

from lsa_trainer.writeback.errors import WriteBackError
from lsa_trainer.writeback.placing import Placement, writable
from lsa_trainer.writeback.provenance import provenance
from lsa_trainer.writeback.staging import Staged, stage, write_weights
from lsa_trainer.writeback.verify import verify_written

__all__ = [
    "Placement",
    "Staged",
    "WriteBackError",
    "provenance",
    "stage",
    "verify_written",
    "writable",
    "write_weights",
]
