"""What is left of a scan that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import ScanInterrupted
from lsa_onnx.report.document import Partial, Report
from lsa_onnx.scanning import Listener, ScanOptions, scan
from tests import graphs
from tests.scanning.helpers import classes_of, saved, stored


class Impatient(Listener):
    """Interrupts once so many samples of a stage are done."""

    def __init__(self, stage: str, after: int) -> None:
        self._stage, self._left = stage, after
        self._here = False

    def begin(self, stage: str, total: int) -> None:
        self._here = stage == self._stage

    def advance(self, samples: int) -> None:
        if self._here:
            self._left -= samples
            if self._left <= 0:
                raise KeyboardInterrupt


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    proto = graphs.conv_net()
    x = graphs.samples(5, 20, 3, 5, 7)
    return saved(tmp_path, proto), stored(tmp_path, x=x, y=classes_of(proto, {"x": x}))


def options(data: Path, **more: Any) -> ScanOptions:
    names = ("gaussian", "fgsm", "pgd")
    return ScanOptions(
        data=data, device="cpu", **{"batch": 4, "steps": 3, "perturbations": names, **more}
    )


def interrupted(given: tuple[Path, Path], stage: str, after: int, **more: Any) -> Report:
    model, data = given
    with pytest.raises(ScanInterrupted) as stopped:
        scan(model, options(data, **more), Impatient(stage, after))
    assert isinstance(stopped.value, KeyboardInterrupt)
    return stopped.value.report


def test_what_was_scored_is_reported(given: tuple[Path, Path]) -> None:
    model, data = given
    report = interrupted(given, "fgsm", 8)
    assert report.partial == Partial("interrupted", "fgsm", 8, 20, ["pgd"])
    assert report.warnings[0].code == "partial"
    whole = scan(model, options(data))
    assert report.perturbations[0] == whole.perturbations[0]
    # The first two batches of four are those of a scan of all samples.
    cut = report.perturbations[1]
    assert (cut.name, cut.input_l2.n, len(report.perturbations)) == ("fgsm", 8, 2)
    assert cut.accuracy is not None
    assert cut.attack is not None
    assert cut.attack.baseline is not None
    assert cut.accuracy.n == 8
    assert report.data.samples == 20


def test_between_two_perturbations_nothing_is_cut(given: tuple[Path, Path]) -> None:
    report = interrupted(given, "gaussian", 20)
    assert report.partial == Partial("interrupted", "gaussian", 20, 20, ["fgsm", "pgd"])
    assert [each.name for each in report.perturbations] == ["gaussian"]


def test_before_anything_is_scored_there_is_no_report(given: tuple[Path, Path]) -> None:
    model, data = given
    with pytest.raises(KeyboardInterrupt) as stopped:
        scan(model, options(data), Impatient("clean", 4))
    assert not isinstance(stopped.value, ScanInterrupted)


def test_no_records_are_left_behind(given: tuple[Path, Path], tmp_path: Path) -> None:
    records = tmp_path / "records.npz"
    records.write_bytes(b"earlier")
    interrupted(given, "pgd", 8, records=records)
    assert records.read_bytes() == b"earlier"
    assert not list(tmp_path.glob("*.tmp"))


def test_a_batch_that_is_half_entered_counts_for_nothing(
    given: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lsa_onnx.accounts.ledger.Ledger.add", stop)
    report = interrupted(given, "never", 0)
    assert report.partial == Partial("interrupted", None, 0, 20, ["fgsm", "pgd"])
