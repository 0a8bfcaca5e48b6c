"""``--expect-accuracy`` of a hardening: how much of the samples the original must get right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsa_onnx.errors import DataError, GateFailed
from lsa_trainer.hardening.choosing import Chosen
from lsa_trainer.hardening.gate import require_expected
from lsa_trainer.hardening.prepare import open_trainable, prepare
from lsa_trainer.training.setup import launch
from tests import graphs
from tests.trainer import fragile
from tests.trainer.fragile import options

COUNT, WRONG = 300, 30


@pytest.fixture
def mislabelled(tmp_path: Path) -> Path:
    """More samples than one pass takes; the model gets all right, but a tenth of the labels is wrong."""
    arrays = fragile.data(COUNT)
    arrays["y"][:WRONG] = (arrays["y"][:WRONG] + 1) % fragile.CLASSES
    return fragile.save_data(tmp_path / "mislabelled.npz", arrays)


def hold(model: Path, data: Path, **changes: Any) -> None:
    """Prepare a hardening and hold it to what is expected."""
    how = options(data, mvl=(), gamma="0", **changes)
    subject, module = open_trainable(model, how)
    prepared = prepare(subject, module, Chosen((), "none"), how, launch(how, "cpu"))
    require_expected(prepared, how)


def test_all_samples_count(model: Path, mislabelled: Path) -> None:
    hold(model, mislabelled, expect_accuracy=0.9)
    with pytest.raises(
        GateFailed, match=r"accuracy 0\.9000 on 300 samples is below the expected 0\.91; check"
    ) as caught:
        hold(model, mislabelled, expect_accuracy=0.91)
    assert caught.value.exit_code == 1
    hold(model, mislabelled)


def test_without_labels_there_is_nothing_to_tell_by(model: Path, mislabelled: Path) -> None:
    with pytest.raises(DataError, match=r"--expect-accuracy 0\.5 needs labels and a model that"):
        hold(model, mislabelled, labels="none", expect_accuracy=0.5)


def test_without_classes_there_is_nothing_to_tell_by(tmp_path: Path) -> None:
    model = graphs.save(graphs.elu_mlp(), tmp_path / "mlp.onnx")
    np.savez(tmp_path / "x.npz", x=graphs.samples(0, 40, 2))
    with pytest.raises(DataError, match=r"--expect-accuracy 0\.5 needs labels and a model that"):
        hold(model, tmp_path / "x.npz", expect_accuracy=0.5)
