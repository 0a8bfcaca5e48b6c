"""An ``Adversary`` for a model and data, opened as a scan opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lsa_onnx.prediction import model_head
from lsa_onnx.scanning import Listener, ScanOptions, open_subject
from lsa_onnx.scanning.adversary import Adversary, open_adversary
from lsa_onnx.scanning.clean import run_clean
from lsa_onnx.scanning.instrument import lay_groundwork
from tests.scanning.helpers import CPU


def opened(model: Path, data: Path | None = None, **given: Any) -> Adversary:
    """With synthetic inputs where there are no data."""
    options = ScanOptions(data=data, device="cpu", **given)
    subject = open_subject(str(model), options)
    head = model_head(subject.model, options.decision)
    ground = lay_groundwork(subject, options, CPU)
    clean = run_clean(
        subject,
        head,
        CPU,
        ground.batch,
        one_by_one=ground.plan.fixed_batch == 1,
        listener=Listener(),
    )
    return open_adversary(subject, ground.attacked, head, clean, ground.probe, CPU, options)
