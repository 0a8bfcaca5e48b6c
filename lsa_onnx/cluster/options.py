"""Where shards run, how many, and where finished ones are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lsa_onnx.errors import DataError


@dataclass(frozen=True)
class ClusterOptions:
    """How to share a scan out.

    Attributes:
        address: "local" for processes on this machine, or where a Ray cluster is: "auto"
            or "HOST:PORT". Its machines need lsa-onnx, and the files at the same paths.
        workers: Shards that run at once; one per CPU if ``None``. The CPUs are shared out evenly.
        shards: Parts of each model's samples; by default as many as give every worker one.
        folder: Where finished shards are kept until all are merged: a run that was lost goes on from there.
            Without one they go with the run.

    Raises:
        DataError: A number is below 1.
    """

    folder: Path | None = None
    address: str = "local"
    workers: int | None = None
    shards: int | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"--{name} {value} is not usable; give a number of at least 1")
