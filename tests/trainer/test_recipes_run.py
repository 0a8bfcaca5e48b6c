"""The engine: what is missing runs, what is done stays, what fails is told and costs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from lsa_onnx.errors import DataError, ModelError
from lsa_trainer.listener import TrainingListener
from lsa_trainer.recipes import (
    Ran,
    RowResult,
    read_recipe,
    read_results,
    results_page,
    run_recipe,
    stages,
)
from tests.trainer.recipe_files import (
    TINY,
    blobs,
    quick_first_step,
    quick_hardening,
    remember_scans,
    write,
)


class Told(TrainingListener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def first_steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return quick_first_step(monkeypatch)


@pytest.fixture
def training() -> None:
    """Asked for by what trains for real."""


@pytest.fixture(autouse=True)
def hardened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Other tests do not train."""
    if "training" in request.fixturenames:
        return []
    remember_scans(monkeypatch)
    return quick_hardening(monkeypatch)


def run(folder: Path, text: str = TINY, **how: Any) -> tuple[Ran, list[str]]:
    told = Told()
    recipe = read_recipe(write(folder, text), how.pop("scale", None))
    how = {"seeds": (0,), "device": "cpu", "data": blobs(folder), **how}
    return run_recipe(recipe, folder / "work", listener=told, **how), told.lines


def by_row(results: list[RowResult]) -> dict[str, RowResult]:
    return {result.row: result for result in results}


@pytest.mark.slow
@pytest.mark.usefixtures("training")
def test_every_row_is_trained_evaluated_and_kept(tmp_path: Path, first_steps: list[int]) -> None:
    ran, told = run(tmp_path)
    ran.require_all()
    rows = by_row(ran.results)
    assert list(rows) == ["AT", "AT-L1", "AT-MVL", "Normal"]
    assert rows["Normal"].layers == rows["AT"].layers == {}
    assert (rows["AT-L1"].layers, rows["AT-L1"].places) == ({"second": 0.5}, [1])
    assert {*rows["AT-MVL"].layers} <= {"first", "second"}
    assert "MVL list" in rows["AT-MVL"].layers_from or "moves most" in rows["AT-MVL"].layers_from
    assert (rows["Normal"].train_eps, rows["AT"].train_eps) == (None, 0.5)
    found = rows["AT"].attacks["square"]
    assert (found.n, found.eps, found.correct.shape) == (40, [0.0, 0.1, 0.5], (3, 40))
    assert found.accuracy == pytest.approx(100 * found.correct.mean(axis=1))
    assert found.r_and_g == pytest.approx(sum(found.accuracy))
    assert len({row.model_sha256 for row in ran.results}) == 4
    assert [line.split(",")[0] for line in told] == [
        "[1/4] Normal", "[2/4] AT", "[3/4] AT-L1", "[4/4] AT-MVL",
    ]  # fmt: skip
    assert first_steps == [0]


def test_a_second_call_runs_nothing(
    tmp_path: Path, first_steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = run(tmp_path, rows=("Normal", "AT"))
    for name in ("harden", "evaluate", "scan"):
        monkeypatch.setattr(stages, name, None)
    again, told = run(tmp_path, rows=("Normal", "AT"))
    assert again.results == first.results
    assert all(line.endswith("(kept)") for line in told)
    assert first_steps == [0]


def test_fresh_runs_the_chosen_rows_anew(tmp_path: Path, first_steps: list[int]) -> None:
    first, _ = run(tmp_path, rows=("Normal", "AT"))
    (tmp_path / "work/seed-0/AT/run").mkdir(exist_ok=True)
    (tmp_path / "work/seed-0/AT/run/step-000001.safetensors").write_bytes(b"damaged")
    again, told = run(tmp_path, rows=("AT",), fresh=True)
    assert not (tmp_path / "work/seed-0/AT/run/step-000001.safetensors").exists()
    assert not told[0].endswith("(kept)")
    assert by_row(again.results)["Normal"] == by_row(first.results)["Normal"]
    assert first_steps == [0], "a first step that is done stays"


def test_fresh_forgets_an_interrupted_first_step(tmp_path: Path) -> None:
    model, run_of = tmp_path / "normal.onnx", tmp_path / "normal.onnx.run"
    run_of.mkdir()
    model.touch()
    stages.forget_interrupted(model)
    assert run_of.exists()
    model.unlink()
    stages.forget_interrupted(model)
    assert not run_of.exists()


@pytest.mark.slow
def test_rows_and_seeds_come_one_after_the_other(tmp_path: Path, first_steps: list[int]) -> None:
    run(tmp_path, rows=("Normal",))
    ran, told = run(tmp_path, seeds=(0, 1), rows=("Normal",))
    assert [(result.seed, result.row) for result in ran.results] == [(0, "Normal"), (1, "Normal")]
    assert told[0].endswith("(kept)")
    assert "evaluation)" in told[1]
    assert first_steps == [0, 1]


@pytest.mark.slow
def test_changed_options_run_the_row_anew(tmp_path: Path, first_steps: list[int]) -> None:
    first, _ = run(tmp_path, rows=("Normal", "AT"))
    again, told = run(tmp_path, TINY.replace("steps = 1\n", "steps = 2\n"), rows=("Normal", "AT"))
    assert "seed-0/AT/model.onnx was made with other options; it is made again" in told
    assert [line.endswith("(kept)") for line in told if line.startswith("[")] == [True, False]
    old, new = by_row(first.results), by_row(again.results)
    assert old["Normal"] == new["Normal"]
    assert old["AT"].model_sha256 != new["AT"].model_sha256
    assert new["AT"].options["steps"] == 2


@pytest.mark.slow
def test_another_evaluation_trains_nothing(
    tmp_path: Path, first_steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, rows=("AT",))
    monkeypatch.setattr(stages, "harden", None)
    ran, told = run(tmp_path, TINY.replace("samples = 40", "samples = 30"), rows=("AT",))
    assert ran.results[0].attacks["square"].n == 30
    assert any("evaluation-square.json was made with other options" in line for line in told)


CHANGED = {
    "attacks": (("[evaluate.square]", "[evaluate.fgsm]\n[evaluate.square]"), ["AT"], 1),
    "strengths": pytest.param(('"0.1", "0.5"]\n', '"0.1", "0.4", "0.5"]\n'), ["AT"], 1, marks=pytest.mark.slow),
    "options": (("gamma = 0.5", "gamma = 0.4"), ["AT", "Normal"], 0),
    "order": (('[[rows]]\n', '[[rows]]\nname = "First"\nbase = "at-pgd"\n[[rows]]\n'), ["AT", "Normal"], 0),
    "name": pytest.param(('name = "Normal"', 'name = "Usual"'), ["AT"], 1, marks=pytest.mark.slow),
}  # fmt: skip


@pytest.mark.parametrize(("change", "shown", "others"), CHANGED.values(), ids=CHANGED)
def test_results_of_the_recipe_as_it_was_do_not_enter_its_tables(
    change: tuple[str, str],
    shown: list[str],
    others: int,
    tmp_path: Path,
    first_steps: list[int],
) -> None:
    text = re.sub("published = .*\\n", "", TINY)
    run(tmp_path, text, rows=("Normal", "AT"))
    changed = text.replace(*change, 1)
    recipe = read_recipe(write(tmp_path, changed))
    ran, told = run(tmp_path, changed, rows=("AT",))
    assert sorted(result.row for result in ran.results) == shown
    assert all(recipe.rows[result.index].name == result.row for result in ran.results)
    assert sum("not shown" in line for line in told) == bool(others)
    assert results_page(ran.results).startswith("# Two blobs\n")


def test_a_row_whose_folder_cannot_be_made_costs_no_other(
    tmp_path: Path, first_steps: list[int]
) -> None:
    # A seed's folder holds a file of this name.
    ran, _ = run(tmp_path, TINY.replace('name = "AT-L1"', 'name = "scan.json"'))
    assert [row for row, _, _ in ran.failures] == ["scan.json"]
    assert sorted(by_row(ran.results)) == ["AT", "AT-MVL", "Normal"]


def test_a_new_first_step_takes_the_results_of_all_rows_along(
    tmp_path: Path, first_steps: list[int]
) -> None:
    run(tmp_path, rows=("Normal", "AT"))
    ran, _ = run(tmp_path, TINY.replace("epochs = 1\n[scan]", "epochs = 2\n[scan]"), rows=("AT",))
    assert list(by_row(ran.results)) == ["AT"]
    assert first_steps == [0, 0]


def test_a_killed_row_goes_on(
    tmp_path: Path, first_steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(stages, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, rows=("AT",))
    assert read_results(tmp_path / "work") == []
    made = (tmp_path / "work/seed-0/AT/model.onnx").read_bytes()
    monkeypatch.setattr(stages, "harden", None)
    ran, _ = run(tmp_path, rows=("AT",))
    assert [result.row for result in ran.results] == ["AT"]
    assert (tmp_path / "work/seed-0/AT/model.onnx").read_bytes() == made


def test_a_training_that_was_killed_goes_on_in_its_folder(
    tmp_path: Path, first_steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(stages, "harden", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, rows=("AT",))
    folder = tmp_path / "work/seed-0/AT/run"
    folder.mkdir()
    (folder / "checkpoint of the killed run").touch()
    record = folder.with_name("model.onnx.made.json")
    killed = json.loads(record.read_text("utf-8"))
    assert 0 < killed["spent"] < 60
    record.write_text(json.dumps({**killed, "spent": 1000.0}), "utf-8")
    ran, _ = run(tmp_path, rows=("AT",))
    assert (folder / "checkpoint of the killed run").exists()
    assert 1000 < ran.results[0].training_seconds < 1060, "what it took before is counted"


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_row_that_fails_costs_no_other(tmp_path: Path, first_steps: list[int]) -> None:
    ran, told = run(tmp_path, TINY.replace('layers = "L1"', 'layers = "L7"'))
    assert list(by_row(ran.results)) == ["AT", "AT-MVL", "Normal"]
    assert told[2] == (
        "[3/4] AT-L1, seed 0: failed: row 'AT-L1' regularises L7, and the scan has 2 layers; give L0 to L1"
    )
    with pytest.raises(DataError, match=r"1 row failed, first 'AT-L1' with seed 0: .* goes on$"):
        ran.require_all()


def test_a_first_step_that_fails_leaves_the_other_seeds(
    tmp_path: Path, first_steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    working: Any = vars(stages)["fit"]

    def fit(*arguments: Any, options: Any, **rest: Any) -> None:
        if options.seed == 0:
            raise ModelError("no luck")
        working(*arguments, options=options, **rest)

    monkeypatch.setattr(stages, "fit", fit)
    ran, told = run(tmp_path, seeds=(0, 1), rows=("Normal",))
    assert told[0] == "[1/2] step 1, seed 0: failed: no luck"
    assert [result.seed for result in ran.results] == [1]
    with pytest.raises(ModelError, match="'step 1' with seed 0: no luck"):
        ran.require_all()


def test_a_row_that_another_process_has_is_left_to_it(
    tmp_path: Path, first_steps: list[int]
) -> None:
    folder = tmp_path / "work/seed-0/AT"
    folder.mkdir(parents=True)
    with FileLock(folder / "lock"):
        ran, told = run(tmp_path, rows=("Normal", "AT"))
    assert ran.elsewhere == [("AT", 0)]
    assert told[1] == "[2/2] AT, seed 0: another process is at work on it"
    assert list(by_row(ran.results)) == ["Normal"]


def test_a_folder_belongs_to_one_recipe_and_scale(tmp_path: Path, first_steps: list[int]) -> None:
    run(tmp_path, rows=("Normal",))
    with pytest.raises(DataError, match=r"work' holds rows of tiny, not of tiny at scale less"):
        run(tmp_path, scale="less", rows=("Normal",))


def test_what_is_missing_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"'tiny' needs samples and nothing is given; give --data: b"
    ):
        run(tmp_path, data=None)
    with pytest.raises(
        DataError, match=r"'none\.npz' does not exist; give --data: blobs as an npz"
    ):
        run(tmp_path, data=Path("none.npz"))
    with pytest.raises(DataError, match=r"unknown row of recipe 'tiny': 'AT-L3'"):
        run(tmp_path, rows=("AT-L3",))
    with pytest.raises(DataError, match=r"seeds -1 are not usable"):
        run(tmp_path, seeds=(-1,))
    assert not (tmp_path / "work").exists()


def test_test_samples_are_never_trained_or_scanned_on(
    tmp_path: Path,
    first_steps: list[int],
    hardened: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, set[Any]] = {}
    for name in ("scan", "evaluate"):
        monkeypatch.setattr(stages, name, watched(getattr(stages, name), seen, name))
    run(tmp_path, rows=("AT", "AT-MVL"))
    assert seen == {"scan": {"train"}, "evaluate": {"test"}}
    assert [options.split for options in hardened] == ["train", "train"]


def watched(function: Any, seen: dict[str, set[Any]], name: str) -> Any:
    def watching(model: Path, options: Any, listener: Any) -> Any:
        seen.setdefault(name, set()).add(options.split)
        return function(model, options, listener)

    return watching


@pytest.mark.slow
def test_rows_are_evaluated_on_the_same_samples(tmp_path: Path, first_steps: list[int]) -> None:
    run(tmp_path, seeds=(0, 1), rows=("Normal", "AT"))
    files = sorted((tmp_path / "work").glob("seed-*/*/evaluation-square.json"))
    prints = {json.loads(path.read_bytes())["data"]["fingerprint"] for path in files}
    assert (len(files), len(prints)) == (4, 1)


def test_a_result_that_cannot_be_read_is_named(tmp_path: Path, first_steps: list[int]) -> None:
    run(tmp_path, rows=("Normal",))
    path = tmp_path / "work/seed-0/Normal/row.json"
    path.write_text("{}")
    with pytest.raises(DataError, match=r"Normal/row\.json' is no result of a row: .* run again"):
        read_results(tmp_path / "work")


def test_a_scan_after_hardening_is_kept(tmp_path: Path, first_steps: list[int]) -> None:
    text = TINY.replace("samples = 30", "samples = 30\nafter = true")
    ran, _ = run(tmp_path, text, rows=("AT",))
    after = json.loads((tmp_path / "work/seed-0/AT/scan-after.json").read_bytes())
    assert after["model"]["file"]["sha256"] == ran.results[0].model_sha256


def test_layers_by_growth(tmp_path: Path, first_steps: list[int]) -> None:
    ran, _ = run(tmp_path, TINY.replace('layers = "L1"', 'layers = "growth"'), rows=("AT-L1",))
    scan = json.loads((tmp_path / "work/seed-0/scan.json").read_bytes())
    growth = {s["tensor"]: s["growth"] for s in scan["perturbations"][0]["layers"]}
    count = max(len(scan["mvl"]["layers"]), 1)
    assert {*ran.results[0].layers} == {*sorted(growth, key=growth.__getitem__)[::-1][:count]}


def test_packed_bits_come_back() -> None:
    from lsa_trainer.recipes.results import pack, unpack

    right = np.random.default_rng(0).random(37) > 0.5
    assert (unpack(pack(right), 37) == right).all()
