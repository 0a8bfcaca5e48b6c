"""What a run keeps in its folder, beside checkpoints and logs."""

from __future__ import annotations

# The report of the scan whose list of layers is regularised, where the run made it.
SCAN = "scan.json"
# Every option, for --config.
CONFIG = "config.toml"
# How the original does on the samples of the verdict.
BEFORE = "before.json"
# Locked while a run is at work.
LOCK = "lock"
# The samples of the verdict, which training never saw; a model without classes has none.
VERIFICATION = "verification.npz"
# Their labels there, and what they are called where an input of the model has that name.
LABELS, OTHER_LABELS = "y", "y of the samples"
RESULT = "result.json"
