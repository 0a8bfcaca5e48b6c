"""Shards of a scan, merged, are the scan: to the last bit of every figure."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from lsa_onnx.accounts.merging import merge
from lsa_onnx.accounts.store import part_of
from lsa_onnx.errors import DataError, GateFailed
from lsa_onnx.report.document import Report
from lsa_onnx.report.json_file import write_json
from lsa_onnx.scanning import ScanOptions, scan
from tests import control_flow, graphs
from tests.scanning.helpers import classes_of, saved, stored

ATTACKED = {"perturbations": ("gaussian", "pepper", "fgsm", "square"), "steps": 3}


def images(folder: Path) -> tuple[Path, Path]:
    """A convolutional net, and 23 samples of which some are labelled wrong."""
    proto = graphs.conv_net()
    x = graphs.samples(5, 23, 3, 5, 7)
    labels = classes_of(proto, {"x": x})
    labels[::5] = (labels[::5] + 1) % 6
    return saved(folder, proto), stored(folder, x=x, y=labels)


def options(data: Path, **given: Any) -> ScanOptions:
    return ScanOptions(data=data, device="cpu", **{"batch": 4, **ATTACKED, **given})


def shard(folder: Path, model: Path, chosen: ScanOptions, number: int, count: int) -> Path:
    """Run a shard as the command line does; the path of its report."""
    path = folder / f"part{number}.json"
    records = folder / f"part{number}.records.npz"
    command = ("lsa-onnx", "scan", "model.onnx", "--shard", f"{number}/{count}", "-q")
    own = dataclasses.replace(chosen, shard=(number, count), records=records, command=command)
    write_json(scan(model, own), path)
    return path


def figures(report: Report) -> dict[str, Any]:
    """All of a report but when it was made and how long that took."""
    found = report.to_dict()
    del found["created"]
    for own in ("seconds", "command"):
        del found["run"][own]
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_merged_shards_are_the_scan(tmp_path: Path, count: int) -> None:
    model, data = images(tmp_path)
    chosen = options(data)
    shards = [shard(tmp_path, model, chosen, i + 1, count) for i in range(count)]
    merged = merge(shards[::-1])
    assert figures(merged) == figures(scan(model, chosen))
    assert merged.run.command == ["lsa-onnx", "scan", "model.onnx", "-q"]


def test_figures_of_a_shard_are_of_its_own_samples(tmp_path: Path) -> None:
    model, data = images(tmp_path)
    report = scan(model, options(data, shard=(2, 3), records=tmp_path / "r.npz"))
    # 6 batches of 4: the second shard has two of them.
    assert report.shard is not None
    assert (report.shard.start, report.shard.stop, report.shard.total) == (8, 16, 23)
    assert report.data.samples == 8
    assert {each.input_l2.n for each in report.perturbations} == {8}
    assert report.accuracy is not None
    assert report.accuracy.n == 8


@pytest.mark.parametrize("per_run", ["N", 1])
def test_models_without_classes_and_of_a_batch_of_one(tmp_path: Path, per_run: str | int) -> None:
    model = saved(tmp_path, graphs.typed_net("float32"))
    data = stored(tmp_path, x=graphs.samples(1, 11, 5))
    chosen = options(data, decision="none" if per_run == "N" else "max", batch=3)
    shards = [shard(tmp_path, model, chosen, i, 2) for i in (1, 2)]
    assert figures(merge(shards)) == figures(scan(model, chosen))
