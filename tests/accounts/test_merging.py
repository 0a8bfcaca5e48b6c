"""Shards of a scan, merged, are the scan: to the last bit of every figure."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
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


@pytest.mark.parametrize("count", [1, 3, pytest.param(6, marks=pytest.mark.slow)])
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


def test_bodies_that_run_more_or_less_often(tmp_path: Path) -> None:
    model = saved(tmp_path, control_flow.recurrent(until=6.0))
    data = stored(tmp_path, x=graphs.samples(3, 10, 4))
    chosen = options(data, layers=("all",), perturbations=("gaussian=40%", "pepper"), batch=3)
    shards = [shard(tmp_path, model, chosen, i, 2) for i in (1, 2)]
    whole = scan(model, chosen)
    assert any(score.executions for score in whole.perturbations[0].layers)
    assert figures(merge(shards)) == figures(whole)


def test_more_samples_than_are_kept_for_exact_quantiles(tmp_path: Path) -> None:
    model = saved(tmp_path, graphs.typed_net("float32"))
    data = stored(tmp_path, x=graphs.samples(2, 2500, 5))
    chosen = options(data, perturbations=("gaussian",), batch=100)
    shards = [shard(tmp_path, model, chosen, i, 3) for i in (1, 2, 3)]
    assert figures(merge(shards)) == figures(scan(model, chosen))


def test_pictures_are_those_of_the_scan(tmp_path: Path) -> None:
    proto = graphs.mnist_cnn(28, 32)
    x = graphs.samples(4, 20, 1, 28, 32)
    model, data = saved(tmp_path, proto), stored(tmp_path, x=x, y=classes_of(proto, {"x": x}))
    chosen = options(data, perturbations=("fgsm", "salt"), eps="30%")
    shards = [shard(tmp_path, model, chosen, i, 3) for i in (1, 2, 3)]
    merged = merge(shards)
    assert [each.perturbation for each in merged.examples] == ["fgsm"] * 4 + ["salt"]
    assert figures(merged) == figures(scan(model, chosen))


def test_records_without_a_report_will_do(tmp_path: Path) -> None:
    model, data = images(tmp_path)
    chosen = options(data, records=tmp_path / "all.npz")
    whole = scan(model, chosen)
    assert whole.shard is None
    assert figures(merge([tmp_path / "all.npz"])) == figures(whole)


def test_records_are_arrays_that_numpy_reads(tmp_path: Path) -> None:
    model, data = images(tmp_path)
    report = scan(model, options(data, records=tmp_path / "all.npz"))
    with np.load(tmp_path / "all.npz") as arrays:
        difference = arrays["2/perturbed/difference"]
        ratio = np.sqrt(difference / arrays["2/perturbed/clean"])
        predicted, labels = arrays["2/attack/classes"], arrays["clean/labels"]
    fgsm = report.perturbations[2]
    assert difference.shape == (23, len(report.layers))
    for column, score in enumerate(fgsm.layers):
        assert score.relative_error.mean == pytest.approx(ratio[:, column].mean(), rel=1e-12)
    assert fgsm.accuracy is not None
    assert fgsm.accuracy.value == pytest.approx((predicted == labels).mean())


def test_shards_share_whole_batches() -> None:
    found = [part_of(23, 4, (i, 3)) for i in (1, 2, 3)]
    assert [(part.start, part.stop) for part in found] == [(0, 8), (8, 16), (16, 23)]
    assert part_of(23, 4, None).stop == 23
    with pytest.raises(DataError, match=r"--shard 2/7 is too fine: 23 samples are 6 batches of 4"):
        part_of(23, 4, (2, 7))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shard": (0, 3)}, "--shard 0/3 does not exist"),
        ({"shard": (4, 3)}, "--shard 4/3 does not exist; give I/N with I from 1 to N, such as 1/3"),
        ({"shard": (1, 3)}, "--shard 1/3 has nowhere to write"),
    ],
)
def test_shards_that_are_none(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as error:
        ScanOptions(**given)
    assert said in str(error.value)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The reports of three shards, and that of the first one with another seed."""
    folder = tmp_path_factory.mktemp("three")
    model, data = images(folder)
    chosen = options(data, perturbations=("pepper",))
    found = [shard(folder, model, chosen, i, 3) for i in (1, 2, 3)]
    (folder / "other").mkdir()
    return [*found, shard(folder / "other", model, dataclasses.replace(chosen, seed=9), 1, 3)]


def refused(paths: list[Path], *said: str) -> None:
    with pytest.raises(DataError) as error:
        merge(paths)
    message = str(error.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_a_shard_that_is_missing(three: list[Path]) -> None:
    refused([three[0], three[2]], "shard 2 of 3 is missing", "--shard 2/3")


def test_a_shard_that_is_there_twice(three: list[Path]) -> None:
    refused([three[0], *three[:3]], "shard 1 of 3 is given twice")


def test_nothing_to_merge() -> None:
    refused([], "nothing to merge")


def test_shards_of_two_scans(three: list[Path]) -> None:
    refused([three[3], three[1], three[2]], "not shards of one scan", "fingerprint")


def test_shards_of_different_numbers(three: list[Path], tmp_path: Path) -> None:
    model, data = images(tmp_path)
    other = shard(tmp_path, model, options(data, perturbations=("pepper",)), 2, 2)
    refused([three[0], other], "is shard 2 of 2", "is one of 3; give the shards of one scan")


def test_a_report_that_is_no_shard(three: list[Path], tmp_path: Path) -> None:
    model, data = images(tmp_path)
    whole = tmp_path / "whole.json"
    write_json(scan(model, options(data, perturbations=("salt",))), whole)
    refused([three[0], whole], "whole.json' is no shard: it is of all samples")


def copied(path: Path, folder: Path) -> Path:
    for each in (path, path.with_suffix(".records.npz")):
        (folder / each.name).write_bytes(each.read_bytes())
    return folder / path.name


def test_records_that_are_missing_or_changed(three: list[Path], tmp_path: Path) -> None:
    first = copied(three[0], tmp_path)
    records = first.with_suffix(".records.npz")
    content = bytearray(records.read_bytes())
    content[len(content) // 2] ^= 1
    records.write_bytes(content)
    refused([first, *three[1:3]], "part1.records.npz' is not the file", "SHA-256 differs")
    values = json.loads(first.read_text("utf-8"))
    values["shard"]["records"]["path"] = "part1.records.npz"
    first.write_text(json.dumps(values), "utf-8")
    records.unlink()
    refused([first, *three[1:3]], "the records of", "are missing")


def rewritten(source: Path, target: Path, **members: bytes | None) -> Path:
    """Records with other members, ``None`` for none."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = members.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"header.json": b"{"}, "does not hold the records of a scan"),
        ({"header.json": None}, "does not hold the records of a scan"),
        ({"header.json": b'{"format": 2}'}, "have format 2, this tool reads 1"),
        ({"header.json": b'{"format": 1}'}, "missing field 'part'"),
        ({"0/perturbed/clean.npy": None}, "does not hold the records of a scan"),
        ({"0/perturbed/clean.npy": b"\x93NUMPY"}, "does not hold the records of a scan"),
    ],
)
def test_damaged_records(
    three: list[Path], tmp_path: Path, members: dict[str, bytes | None], said: str
) -> None:
    source = [path.with_suffix(".records.npz") for path in three[:3]]
    damaged = rewritten(source[0], tmp_path / "damaged.npz", **members)
    refused([damaged, *source[1:]], "damaged.npz'", said)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("frame", "step"), 0, "its step is 0"),
        (("part", "stop"), 0, "is of samples 0 to 0"),
        (("outputs",), [], "1 perturbations have 0 checks"),
        (("frame", "sizes"), [1] * 9, "layers have 9 sizes"),
    ],
)
def test_a_header_that_does_not_fit(
    three: list[Path], tmp_path: Path, place: tuple[str, ...], value: Any, said: str
) -> None:
    source = three[0].with_suffix(".records.npz")
    with zipfile.ZipFile(source) as archive:
        header = json.loads(archive.read("header.json"))
    holder = header
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    changed = json.dumps(header).encode()
    refused([rewritten(source, tmp_path / "h.npz", **{"header.json": changed})], "h.npz'", said)


def test_records_that_are_no_numbers(three: list[Path], tmp_path: Path) -> None:
    source = [path.with_suffix(".records.npz") for path in three[:3]]
    file = io.BytesIO()
    np.save(file, np.array(["a"] * 8))
    words = {"clean/labels.npy": file.getvalue()}
    damaged = rewritten(source[0], tmp_path / "words.npz", **words)
    refused([damaged, *source[1:]], "clean/labels holds no numbers")


def test_a_compressed_member_is_refused(three: list[Path], tmp_path: Path) -> None:
    source = [path.with_suffix(".records.npz") for path in three[:3]]
    with (
        zipfile.ZipFile(source[0]) as old,
        zipfile.ZipFile(tmp_path / "z.npz", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refused([tmp_path / "z.npz", *source[1:]], "is compressed")


def test_the_gate_on_accuracy_is_that_of_the_whole(tmp_path: Path) -> None:
    model, data = images(tmp_path)
    # 18 of 23 are right, but fewer in some shard: no shard fails, and the whole does.
    chosen = options(data, perturbations=("pepper",), expect_accuracy=0.9)
    shards = [shard(tmp_path, model, chosen, i, 3) for i in (1, 2, 3)]
    with pytest.raises(GateFailed, match=r"0\.7826 on 23 samples is below the expected 0\.9"):
        merge(shards)


def test_other_machines_are_told(three: list[Path], tmp_path: Path) -> None:
    source = [path.with_suffix(".records.npz") for path in three[:3]]
    with zipfile.ZipFile(source[1]) as archive:
        header = json.loads(archive.read("header.json"))
    header["frame"]["run"]["onnxruntime"] = "9.9"
    other = rewritten(
        source[1], tmp_path / "other.npz", **{"header.json": json.dumps(header).encode()}
    )
    found = {
        warning.code: warning.message for warning in merge([source[0], other, source[2]]).warnings
    }
    assert "onnxruntime: " in found["mixed-machines"]
    assert ", 9.9." in found["mixed-machines"]
    assert "mixed-machines" not in {warning.code for warning in merge(source).warnings}
