"""The books of a scan: from what the runtime returned of each sample to the figures of a report.

Nothing here runs a model. A scan enters its batches as they come, a merge those that the shards of a scan
wrote down: in the same order, so that both arrive at the same bits.
"""

from lsa_onnx.accounts.account import Account, Entry
from lsa_onnx.accounts.frame import Applied, AttackFacts, Frame
from lsa_onnx.accounts.records import AttackRecord, Clean, Observed, Record, Series

__all__ = [
    "Account",
    "Applied",
    "AttackFacts",
    "AttackRecord",
    "Clean",
    "Entry",
    "Frame",
    "Observed",
    "Record",
    "Series",
]
