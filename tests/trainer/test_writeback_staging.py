"""Files: what is written where, what is never touched, and what a failure leaves behind."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from lsa_onnx.differences import diff_models
from lsa_onnx.errors import DataError, ModelError, UnsafeModelError
from lsa_trainer.writeback import WriteBackError, stage, verify_written, write_weights
from lsa_trainer.writeback import staging as staging_module
from tests import graphs
from tests.graphs import model, node, samples, save, save_external, value, weight
from tests.trainer.written import contents, initializer, outputs, placed, snapshot, trained

NEW = trained(graphs.conv_net())


@pytest.fixture
def inline(tmp_path: Path) -> Path:
    return save(graphs.conv_net(), tmp_path / "source.onnx")


@pytest.fixture
def external(tmp_path: Path) -> Path:
    return save_external(graphs.conv_net(), tmp_path / "source.onnx", "weights.data")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def holds_new(path: Path) -> bool:
    found = contents(path)
    return all(np.array_equal(found[p.name], values) for p, values in NEW.items())


def test_inline_stays_inline(inline: Path, out: Path) -> None:
    write_weights(inline, out / "target.onnx", NEW, {"k": "v"})
    assert list(snapshot(out)) == ["target.onnx"]
    assert holds_new(out / "target.onnx")
    assert diff_models(inline, out / "target.onnx").metadata.added == {"k": "v"}


def test_external_data_keep_name_and_places_in_another_folder(external: Path, out: Path) -> None:
    before = snapshot(external.parent)
    write_weights(external, out / "target.onnx", NEW, {})
    assert list(snapshot(out)) == ["target.onnx", "weights.data"]
    assert placed(out / "target.onnx") == placed(external)
    assert holds_new(out / "target.onnx")
    assert before.items() <= snapshot(external.parent).items()
    x = {"x": samples(1, 3, 3, 5, 7)}
    moved = out.rename(out.with_name("moved")) / "target.onnx"
    assert not np.allclose(outputs(moved, x), outputs(external, x))


def test_beside_the_source_the_data_are_named_after_the_target(external: Path) -> None:
    before = snapshot(external.parent)
    target = external.with_name("hardened.onnx")
    write_weights(external, target, NEW, {})
    after = snapshot(external.parent)
    assert after.keys() - before.keys() == {"hardened.onnx", "hardened.onnx.data"}
    assert before.items() <= after.items()
    places = placed(target)
    assert {entries.pop("location") for entries in places.values()} == {"hardened.onnx.data"}
    assert places == {
        name: {k: v for k, v in entries.items() if k != "location"}
        for name, entries in placed(external).items()
    }
    assert holds_new(target)


def test_only_the_bytes_of_trained_tensors_change(external: Path, out: Path) -> None:
    """Padding, and data that no tensor refers to, are copied as they are."""
    data = external.with_name("weights.data")
    data.write_bytes(data.read_bytes() + b"appendix")
    new = trained(graphs.conv_net(), "c")
    write_weights(external, out / "target.onnx", new, {})
    old, found = data.read_bytes(), (out / "weights.data").read_bytes()
    (values,) = new.values()
    start = int(placed(external)["c"]["offset"])
    assert found == old[:start] + values.tobytes() + old[start + 24 :]


def test_a_checksum_of_the_old_data_goes(external: Path, out: Path) -> None:
    proto = onnx.load(external, load_external_data=False)
    proto.graph.initializer[0].external_data.add(key="checksum", value="ab")
    save(proto, external)
    write_weights(external, out / "target.onnx", NEW, {})
    assert placed(out / "target.onnx")["w"].keys() == {"location", "offset", "length"}


def test_many_data_files_and_folders(tmp_path: Path, out: Path) -> None:
    source = save_external(graphs.conv_net(), tmp_path / "source.onnx", "one.data")
    proto = onnx.load(source, load_external_data=False)
    (tmp_path / "sub").mkdir()
    for tensor, place in zip(proto.graph.initializer, ("w.bin", "sub/v.bin", "c"), strict=True):
        values = numpy_helper.to_array(tensor, str(tmp_path))
        (tmp_path / place).write_bytes(values.tobytes())
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=place)
    save(proto, source)
    write_weights(source, out / "target.onnx", NEW, {})
    assert list(snapshot(out)) == ["c", "sub/v.bin", "target.onnx", "w.bin"]
    assert holds_new(out / "target.onnx")
    write_weights(source, tmp_path / "target.onnx", NEW, {})
    assert {e["location"] for e in placed(tmp_path / "target.onnx").values()} == {
        "target.onnx.data",
        "target.onnx.1.data",
        "target.onnx.2.data",
    }
    assert holds_new(tmp_path / "target.onnx")


def test_what_is_not_ours_is_not_replaced(external: Path, out: Path) -> None:
    """Somebody else's data have the name that ours would have; an earlier target's are replaced."""
    (out / "weights.data").write_bytes(b"of another model")
    (out / "target.onnx.data").write_bytes(b"of yet another")
    for _ in range(2):
        write_weights(external, out / "target.onnx", NEW, {})
        assert list(snapshot(out)) == [
            "target.onnx",
            "target.onnx.1.data",
            "target.onnx.data",
            "weights.data",
        ]
    assert (out / "weights.data").read_bytes() == b"of another model"
    assert (out / "target.onnx.data").read_bytes() == b"of yet another"
    assert holds_new(out / "target.onnx")


def test_data_never_take_the_name_of_the_target(tmp_path: Path, out: Path) -> None:
    source = save_external(graphs.conv_net(), tmp_path / "source.onnx", "target.onnx")
    write_weights(source, out / "target.onnx", NEW, {})
    assert list(snapshot(out)) == ["target.onnx", "target.onnx.data"]
    assert holds_new(out / "target.onnx")


def test_data_stay_in_the_folder_of_the_target(external: Path, tmp_path: Path, out: Path) -> None:
    """A link in the target's folder must not lead the data elsewhere."""
    proto = onnx.load(external, load_external_data=False)
    (tmp_path / "sub").mkdir()
    external.with_name("weights.data").rename(tmp_path / "sub" / "weights.data")
    for tensor in proto.graph.initializer:
        tensor.external_data[0].value = "sub/weights.data"
    save(proto, external)
    (tmp_path / "elsewhere").mkdir()
    (out / "sub").symlink_to(tmp_path / "elsewhere")
    write_weights(external, out / "target.onnx", NEW, {})
    assert snapshot(tmp_path / "elsewhere") == {}
    assert "target.onnx.data" in snapshot(out)
    assert holds_new(out / "target.onnx")


def spelled(source: Path, out: Path) -> Path:
    return source.parent / "out" / ".." / source.name


def symbolic(source: Path, out: Path) -> Path:
    (out / "link.onnx").symlink_to(source)
    return out / "link.onnx"


def hard(source: Path, out: Path) -> Path:
    (out / "link.onnx").hardlink_to(source)
    return out / "link.onnx"


@pytest.mark.parametrize("spelling", [spelled, symbolic, hard])
@pytest.mark.parametrize("file", ["source.onnx", "weights.data"])
def test_the_source_is_never_the_target(
    spelling: Callable[[Path, Path], Path], file: str, external: Path, out: Path
) -> None:
    target = spelling(external.with_name(file), out)
    before = snapshot(external.parent)
    with pytest.raises(DataError, match="a file of the model that was trained") as caught:
        stage(external, target, NEW, {})
    assert repr(str(target)) in str(caught.value)
    assert snapshot(external.parent) == before


def test_data_of_the_source_under_another_name_are_never_replaced(
    external: Path, out: Path
) -> None:
    """An earlier target of the same name shares its data with the source, by a hard link."""
    (out / "weights.data").hardlink_to(external.with_name("weights.data"))
    (out / "target.onnx").write_bytes(external.read_bytes())
    before = snapshot(external.parent)
    write_weights(external, out / "target.onnx", NEW, {})
    assert (out / "weights.data").samefile(external.with_name("weights.data"))
    assert snapshot(external.parent)["weights.data"] == before["weights.data"]
    assert holds_new(out / "target.onnx")


def test_a_download_cache_can_be_trained(tmp_path: Path, out: Path) -> None:
    """Model and data are links to files of other names."""
    blobs, snapshots = tmp_path / "blobs", tmp_path / "snapshots"
    blobs.mkdir()
    snapshots.mkdir()
    save_external(graphs.conv_net(), blobs / "1a2b")
    (blobs / "weights.data").rename(blobs / "3c4d")
    (snapshots / "model.onnx").symlink_to("../blobs/1a2b")
    (snapshots / "weights.data").symlink_to("../blobs/3c4d")
    write_weights(snapshots / "model.onnx", out / "target.onnx", NEW, {})
    assert list(snapshot(out)) == ["target.onnx", "weights.data"]
    assert holds_new(out / "target.onnx")


def test_a_link_at_the_target_stays_a_link(external: Path, tmp_path: Path, out: Path) -> None:
    (tmp_path / "link.onnx").symlink_to(out / "target.onnx")
    write_weights(external, tmp_path / "link.onnx", NEW, {})
    assert (tmp_path / "link.onnx").is_symlink()
    assert list(snapshot(out)) == ["target.onnx", "weights.data"]


def test_the_mode_of_an_earlier_target_stays(inline: Path, out: Path) -> None:
    target = out / "target.onnx"
    target.write_bytes(b"earlier")
    target.chmod(0o640)
    write_weights(inline, target, NEW, {})
    assert target.stat().st_mode & 0o777 == 0o640
    assert holds_new(target)


@pytest.mark.parametrize(
    ("target", "said"),
    [("none/target.onnx", "its folder does not exist"), ("", "this is a folder")],
)
def test_targets_that_cannot_be(target: str, said: str, inline: Path, out: Path) -> None:
    with pytest.raises(DataError, match=said):
        stage(inline, out / target, NEW, {})


def test_a_pipe_is_no_target(inline: Path, out: Path) -> None:
    os.mkfifo(out / "pipe")
    with pytest.raises(DataError, match=r"pipe' is not a regular file"):
        stage(inline, out / "pipe", NEW, {})


def test_a_staged_model_is_hidden_runs_and_is_discarded(external: Path, out: Path) -> None:
    with stage(external, out / "target.onnx", NEW, {}) as staged:
        assert not staged.target.exists()
        (hidden,) = out.iterdir()
        assert hidden.name.startswith(".lsa-onnx-")
        assert staged.path.name == "target.onnx"
        verify_written(external, staged.path, {"x": samples(1, 3, 3, 5, 7)})
        answers = outputs(staged.path, {"x": samples(1, 3, 3, 5, 7)})
    assert list(out.iterdir()) == []
    staged.discard()
    again = stage(external, out / "target.onnx", NEW, {})
    again.publish()
    assert list(snapshot(out)) == ["target.onnx", "weights.data"]
    assert not any(path.name.startswith(".") for path in out.iterdir())
    np.testing.assert_array_equal(
        outputs(out / "target.onnx", {"x": samples(1, 3, 3, 5, 7)}), answers
    )


def test_nothing_stays_when_nobody_holds_it(inline: Path, out: Path) -> None:
    staged = stage(inline, out / "target.onnx", NEW, {})
    assert len(list(out.iterdir())) == 1
    del staged
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("spoilt", ["weights.data", "target.onnx"])
def test_a_full_disk(
    spoilt: str, external: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_weights(external, out / "target.onnx", {}, {})
    before, really = snapshot(out), os.fsync
    flushed = iter(["weights.data", "its folder", "target.onnx"])

    def full(descriptor: int) -> None:
        if next(flushed) == spoilt:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="the disk is full"):
        stage(external, out / "target.onnx", NEW, {})
    assert snapshot(out) == before


@pytest.mark.parametrize("error", [OSError(errno.EXDEV, "cross-device"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", ["weights.data", "target.onnx"])
def test_an_interrupted_publication(
    error: BaseException,
    failing: str,
    external: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The earlier model and its data are both there again; the staged one can be published later."""
    write_weights(external, out / "target.onnx", {}, {"generation": "1"})
    before = snapshot(out)
    staged, really = stage(external, out / "target.onnx", NEW, {}), Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.parent == staged.path.parent and target == out / failing:
            raise error
        return really(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    expected = DataError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        staged.publish()
    shown = {name: d for name, d in snapshot(out).items() if not name.startswith(".")}
    assert shown == before
    monkeypatch.undo()
    staged.publish()
    assert list(snapshot(out)) == ["target.onnx", "weights.data"]
    assert holds_new(out / "target.onnx")


def test_an_interrupt_after_the_last_step_takes_nothing_back(
    external: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, really = stage(external, out / "target.onnx", NEW, {}), Path.replace

    def replace(self: Path, target: Path) -> Path:
        done = really(self, target)
        if target == staged.target:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        staged.publish()
    monkeypatch.undo()
    assert holds_new(out / "target.onnx")


def test_a_file_that_appears_meanwhile_is_kept(external: Path, out: Path) -> None:
    staged = stage(external, out / "target.onnx", NEW, {})
    (out / "weights.data").write_bytes(b"somebody's")
    with pytest.raises(DataError, match=r"weights\.data': a file has appeared there"):
        staged.publish()
    assert (out / "weights.data").read_bytes() == b"somebody's"
    assert not (out / "target.onnx").exists()


def test_a_file_that_fails_its_verification_never_appears(
    inline: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto, metadata: Any) -> None:
        model.graph.node[1].op_type = "Elu"

    monkeypatch.setattr(staging_module, "add_metadata", spoil)
    with pytest.raises(WriteBackError, match="op_type is 'Elu' instead of 'Relu'"):
        write_weights(inline, out / "target.onnx", NEW, {})
    assert list(out.iterdir()) == []


def test_sources_that_are_no_models(tmp_path: Path, out: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model", "utf-8")
    with pytest.raises(ModelError, match=r"text\.onnx' is not an ONNX model"):
        stage(tmp_path / "text.onnx", out / "target.onnx", {}, {})
    source = save_external(graphs.conv_net(), tmp_path / "source.onnx", "weights.data")
    proto = onnx.load(source, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../weights.data"
    with pytest.raises(UnsafeModelError, match=r"'\.\./weights\.data', outside the folder"):
        stage(save(proto, source), out / "target.onnx", {}, {})


def test_large_data_are_never_in_memory_as_a_whole(tmp_path: Path, out: Path) -> None:
    """32 MB of data, of which one tensor of 400 bytes was trained."""
    weights = {"w": np.zeros((2000, 4000), np.float32), "v": weight(0, 10, 10)}
    nodes = [node("Gather", ["w", "x"], ["h"]), node("MatMul", ["z", "v"], ["y"])]
    inputs = [value("x", ["N"], "int64"), value("z", ["N", 10])]
    proto = model(nodes, inputs, [value("h", None), value("y", None)], weights)
    source = save_external(proto, tmp_path / "source.onnx", "weights.data")
    del proto, weights
    tracemalloc.start()
    new = weight(1, 10, 10)
    stage(source, out / "target.onnx", {initializer("v"): new}, {}).publish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
    np.testing.assert_array_equal(contents(out / "target.onnx")["v"], new)
