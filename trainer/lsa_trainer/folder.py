"""What a run keeps in its folder, beside checkpoints and logs."""

from __future__ import annotations

# The report of the scan whose list of layers is regularised, where the run made it.
SCAN = "scan.json"
# Every option, for --config.
CONFIG = "config.toml"
# The samples of the verdict, which training never saw; a model without classes has none.
VERIFICATION = "verification.npz"
RESULT = "result.json"
