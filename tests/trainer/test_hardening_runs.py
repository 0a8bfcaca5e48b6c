"""From a file that a small perturbation fools to one that it does not, and how else that may end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from lsa_onnx.differences import diff_models
from lsa_onnx.errors import DataError, LsaError
from lsa_onnx.files import write_atomically
from lsa_onnx.model import digest
from lsa_onnx.report import Hardening, read_hardening
from lsa_trainer.hardening import harden
from lsa_trainer.module import load
from lsa_trainer.options import HardenOptions
from lsa_trainer.training import checkpoint
from lsa_trainer.training.log import read_log
from lsa_trainer.writeback.provenance import ANCESTORS, CONFIG, HARDENED_BY, PARENT, SCORES
from tests import graphs
from tests.trainer import fragile
from tests.trainer.fragile import metadata, options
from tests.trainer.small_runs import Recorder, scored
from tests.trainer.written import contents

Make = Callable[[], onnx.ModelProto]


@pytest.mark.parametrize("make", [fragile.mlp, fragile.cnn])
def test_a_better_file_of_the_same_graph(make: Make, tmp_path: Path) -> None:
    is_image = make is fragile.cnn
    shape, layer = (fragile.IMAGE, "relu") if is_image else (fragile.VECTOR, "r")
    data = fragile.save_data(tmp_path / "train.npz", fragile.data(120, shape))
    model, target = graphs.save(make(), tmp_path / "m.onnx"), tmp_path / "hard.onnx"
    original, seen = model.read_bytes(), Recorder()
    result = harden(model, target, options(data, mvl=(layer,)), listener=seen)
    found = result.comparison
    assert (found.measure, found.labels, found.attack) == ("accuracy", "given", "pgd")
    assert found.clean_before.value == 1
    assert found.robust_before.value < 0.1
    assert found.robust_after.value > found.robust_before.value + 0.2
    assert found.robust_after.n == 24
    assert result.output == str(target)
    assert result.objection is None
    assert model.read_bytes() == original
    difference = diff_models(model, target)
    assert difference.other == []
    assert {t.name for t in difference.changed_tensors} == set(contents(model))
    assert result.changes.keys() == set(contents(model))
    assert result.layers == {layer: 0.1}
    assert "regularised layers: " + layer + " (named with --mvl)" in seen.said
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_the_run_leaves_behind(model: Path, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "hard.onnx"
    given = options(samples, ema=0.5)
    result = harden(model, target, given)
    folder = tmp_path / "hard.onnx.run"
    assert result.folder == str(folder)
    assert read_hardening(folder / "result.json") == result
    assert result.files == [digest(target)]
    assert HardenOptions.from_record(result.config) == given
    assert 'mvl = [\n    "r",\n]' in (folder / "config.toml").read_text("utf-8")
    steps = [event["step"] for event in read_log(folder / "log.jsonl") if event["event"] == "step"]
    assert steps == list(range(1, 25))
    assert [entry.step for entry in result.history] == [0, 12, 24]
    kept = metadata(target)
    assert kept[PARENT] == result.model_sha256
    assert kept[HARDENED_BY] == f"lsa-onnx {result.tool_version}"
    # The file goes where the folders of this machine mean nothing.
    assert json.loads(kept[CONFIG]) == {**result.config, "data": samples.name}
    scores = json.loads(kept[SCORES])
    assert scores["robust_after"]["value"] == result.comparison.robust_after.value


def test_the_same_again_gives_the_same(model: Path, samples: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    harden(model, first, options(samples))
    harden(model, second, options(samples))
    assert first.read_bytes() == second.read_bytes()


def test_provenance_is_a_chain(model: Path, samples: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    parent = harden(model, first, options(samples)).model_sha256
    again = harden(first, second, options(samples, force=True, epochs=1))
    assert again.model_sha256 != parent
    assert metadata(second)[PARENT] == again.model_sha256
    assert json.loads(metadata(second)[ANCESTORS]) == [parent]


def test_a_file_that_is_no_better_is_not_written(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "hard.onnx"
    useless = options(samples, lr=1e-9, epochs=1)
    result = harden(model, target, useless)
    assert result.output is None
    assert result.objection is not None
    assert result.objection.startswith("robust accuracy under pgd at eps 0.1 went from ")
    assert not target.exists()
    assert read_hardening(tmp_path / "hard.onnx.run/result.json").objection == result.objection
    forced = harden(model, target, dataclasses.replace(useless, force=True))
    assert (forced.output, forced.objection) == (str(target), result.objection)
    assert target.exists()


def test_robust_weights_that_lost_too_much_clean_accuracy_are_told(
    model: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(monkeypatch, [(0.99, 0.5, 0.46), (0.96, 0.9, 0.81), (0.95, 0.9, 0.85)])
    result = harden(model, tmp_path / "hard.onnx", options(samples, max_clean_drop=0.02))
    assert (result.output, result.best_step) == (None, 0)
    assert str(result.objection).endswith(
        "; on validation samples the weights of step 24 reach 0.850 (0.460 before), but a clean score of 0.950 "
        "(0.990 before), a loss of more than --max-clean-drop 0.02: raise it, or lower --lr or --eps"
    )


def test_an_earlier_output_stays_where_nothing_better_is_found(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "hard.onnx"
    target.write_bytes(b"mine")
    assert harden(model, target, options(samples, lr=1e-9, epochs=1)).output is None
    assert target.read_bytes() == b"mine"


def test_the_original_is_never_overwritten(model: Path, samples: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    for target in (model, link):
        with pytest.raises(DataError, match=r"is the model itself, which is never overwritten"):
            harden(model, target, options(samples))
    assert not (tmp_path / "model.onnx.run").exists()


def test_without_labels_the_model_teaches(model: Path, tmp_path: Path) -> None:
    arrays = fragile.data(120)
    del arrays["y"]
    data, seen = fragile.save_data(tmp_path / "x.npz", arrays), Recorder()
    result = harden(model, tmp_path / "hard.onnx", options(data), listener=seen)
    assert result.comparison.labels == "predicted"
    assert result.comparison.clean_before.value == 1
    assert result.comparison.gain > 0.2
    assert "no labels: the model's own clean predictions teach" in seen.said


def test_ort_computes_what_torch_trained(model: Path, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "hard.onnx"
    harden(model, target, options(samples))
    x = fragile.data(9, seed=5)["x"]
    (theirs,) = graphs.run(onnx.load(target), {"x": x}).values()
    ours = load(target)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    saved = checkpoint.load(tmp_path / "hard.onnx.run")
    assert saved is not None
    for name, array in contents(target).items():
        np.testing.assert_array_equal(array, saved.tensors[f"best.{name}"].numpy())


class Interrupting(Recorder):
    def stepped(self, step: int, values: Any) -> None:
        super().stepped(step, values)
        if step == 19:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_as_a_whole_one(model: Path, samples: Path, tmp_path: Path) -> None:
    whole, halved = tmp_path / "a.onnx", tmp_path / "b.onnx"
    how = options(samples, checkpoint_every=5, gamma="auto")
    expected = harden(model, whole, how)
    with pytest.raises(KeyboardInterrupt):
        harden(model, halved, how, listener=Interrupting())
    assert not halved.exists()
    seen = Recorder()
    result = harden(model, halved, how, listener=seen)
    assert "resumed at step 15 of 24" in seen.said
    assert halved.read_bytes() == whole.read_bytes()
    same = ("history", "layers", "changes", "comparison", "notes", "best_step", "steps")
    assert [getattr(result, n) for n in same] == [getattr(expected, n) for n in same]
    logs = [(tmp_path / f"{name}.onnx.run/log.jsonl").read_bytes() for name in ("a", "b")]
    assert logs[0] == logs[1]


def test_a_run_goes_on_only_with_its_own_data_and_options(
    model: Path, samples: Path, tmp_path: Path
) -> None:
    target = tmp_path / "hard.onnx"
    with pytest.raises(KeyboardInterrupt):
        harden(model, target, options(samples), listener=Interrupting())
    with pytest.raises(DataError, match=r"has lr = 0\.1 and this one 0\.01; .*--fresh"):
        harden(model, target, options(samples, lr=0.01))
    fragile.save_data(samples, fragile.data(120, seed=3))
    with pytest.raises(DataError, match=r"has samples of the data = .*--fresh"):
        harden(model, target, options(samples))
    seen = Recorder()
    harden(model, target, options(samples, fresh=True, epochs=1), listener=seen)
    assert not any("resumed" in text for text in seen.said)


def test_labels_out_of_range(model: Path, tmp_path: Path) -> None:
    arrays = fragile.data(120)
    arrays["y"][7] = 3
    data = fragile.save_data(tmp_path / "y.npz", arrays)
    with pytest.raises(DataError, match=r"label 3 is not one of the model's 3 classes \(0\.\.2\)"):
        harden(model, tmp_path / "hard.onnx", options(data))


def test_too_few_samples(model: Path, tmp_path: Path) -> None:
    data = fragile.save_data(tmp_path / "few.npz", fragile.data(9))
    with pytest.raises(DataError, match="9 samples are too few"):
        harden(model, tmp_path / "hard.onnx", options(data))


def test_a_full_disk_costs_nothing(
    model: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, saved = tmp_path / "hard.onnx", 0

    def full(path: Path, content: bytes) -> None:
        nonlocal saved
        saved += 1
        if saved == 6:
            raise DataError(f"cannot write {str(path)!r}: the disk is full: free some space")
        write_atomically(path, content)

    how = options(samples, checkpoint_every=6)
    monkeypatch.setattr(checkpoint, "write_atomically", full)
    with pytest.raises(DataError, match="the disk is full"):
        harden(model, target, how)
    monkeypatch.undo()
    seen = Recorder()
    result = harden(model, target, how, listener=seen)
    assert "resumed at step 6 of 24" in seen.said
    assert result.comparison == harden(model, tmp_path / "b.onnx", how).comparison


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"verify_attack": "strong"}, "attack 'strong'"),
        ({"base": "at-magic"}, "'at-magic'"),
        ({"gamma": "lots"}, "gamma 'lots'"),
        ({"crop": 2}, "need images"),
    ],
)
def test_options_that_are_not_usable(
    changes: dict[str, Any], message: str, model: Path, samples: Path, tmp_path: Path
) -> None:
    with pytest.raises(LsaError, match=message) as caught:
        harden(model, tmp_path / "hard.onnx", options(samples, **changes))
    assert "\n" not in str(caught.value)


def test_a_hardening_is_a_document(model: Path, samples: Path, tmp_path: Path) -> None:
    result = harden(model, tmp_path / "hard.onnx", options(samples, epochs=1, force=True))
    assert Hardening.from_dict(json.loads(json.dumps(result.to_dict()))) == result
