"""Runs what is missing of a recipe, row by row; several processes may share a folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import Timeout

from lsa_onnx.attacks import parse_eps
from lsa_onnx.errors import DataError, LsaError
from lsa_onnx.model import digest
from lsa_onnx.report import Report
from lsa_trainer.listener import TrainingListener
from lsa_trainer.recipes.current import current, told_of
from lsa_trainer.recipes.data import find_samples, require_data
from lsa_trainer.recipes.layers import layers_of, places_of
from lsa_trainer.recipes.machine import machine_line, versions
from lsa_trainer.recipes.progress import Rows
from lsa_trainer.recipes.recipe import MVL, NORMAL, Recipe, Row, require_seeds
from lsa_trainer.recipes.results import RowResult, read_record, read_results, write_record
from lsa_trainer.recipes.stages import (
    NORMAL_MODEL,
    SCAN,
    SCAN_AFTER,
    Bench,
    Made,
    evaluated,
    forget_interrupted,
    hardened,
    scanned,
    seconds_of,
    trained_normally,
)
from lsa_trainer.training.checkpoint import make_folder
from lsa_trainer.training.claim import held

_LOCK = "lock"
# In the folder of all: what its rows are of.
_RECIPE = "recipe.json"


@dataclass
class Ran:
    """What a call of ``run_recipe`` did.

    Attributes:
        results: Of all rows of the recipe that are done, also by earlier calls.
        failures: Row, seed and error of those that failed.
        elsewhere: Rows and seeds that another process is at work on.
    """

    results: list[RowResult] = field(default_factory=list)
    failures: list[tuple[str, int, LsaError]] = field(default_factory=list)
    elsewhere: list[tuple[str, int]] = field(default_factory=list)

    def require_all(self) -> None:
        """Raise the first failure.

        Raises:
            LsaError: A row failed.
        """
        if self.failures:
            row, seed, error = self.failures[0]
            count = len(self.failures)
            raise type(error)(
                f"{count} row{'s' if count > 1 else ''} failed, first {row!r} with seed {seed}: {error}; "
                "what is done is kept, and the same command goes on"
            )


def run_recipe(
    recipe: Recipe,
    work: str | Path,
    *,
    data: str | Path | None = None,
    seeds: tuple[int, ...] | None = None,
    rows: tuple[str, ...] = (),
    device: str = "auto",
    fresh: bool = False,
    listener: TrainingListener | None = None,
) -> Ran:
    """Run every row that is not done, for every seed.

    A row that is done stays, unless its options have changed; one that was killed goes on; one that
    fails is told in a line, and the others run.

    Args:
        recipe: What to run.
        work: Folder of all that is made; of one recipe at one scale.
        data: The file or folder of samples, of a recipe that does not make them.
        seeds: In place of the recipe's.
        rows: Names or wildcards; all where none is given.
        device: "auto", "cpu", "cuda" or "cuda:N".
        fresh: Run these rows anew, done or not, and step 1 if it was interrupted.
        listener: Told of progress.

    Raises:
        DataError: Samples are missing, a row or seed is not known, or the folder is of another recipe.
    """
    given = None if data is None else Path(data)
    chosen, numbers = recipe.chosen_rows(rows), recipe.seeds if seeds is None else seeds
    require_seeds(numbers)
    require_data(recipe, given)
    folder = Path(work)
    _require_own(folder, recipe)
    told = Rows(listener or TrainingListener(), len(chosen) * len(numbers))
    ran = Ran()
    call = _Call(recipe, folder, given, chosen, device, fresh, told, ran)
    with threads(recipe.threads):
        for seed in numbers:
            _run_seed(call, seed)
    ran.results, others = current(recipe, read_results(folder))
    if others:
        told.left_out(others)
    return ran


@dataclass(frozen=True)
class _Call:
    """What all rows of a call share."""

    recipe: Recipe
    work: Path
    data: Path | None
    rows: tuple[Row, ...]
    device: str
    fresh: bool
    told: Rows
    ran: Ran

    def failed(self, row: str, seed: int, error: LsaError) -> None:
        """Tell it, and go on."""
        self.told.failed(row, seed, error)
        self.ran.failures.append((row, seed, error))


def _run_seed(call: _Call, seed: int) -> None:
    """All rows of one seed; what none of them can do without comes first."""
    try:
        bench, model, report = _started(call, seed)
    except LsaError as error:
        call.failed("step 1", seed, error)
        return
    for row in call.rows:
        folder = bench.folder / row.name
        try:
            make_folder(folder)
            with held(folder / _LOCK, timeout=0):
                if call.fresh:
                    _empty(folder)
                _run_row(call, bench, model, report, row)
        except Timeout:
            call.told.elsewhere(row.name, seed)
            call.ran.elsewhere.append((row.name, seed))
        except LsaError as error:
            call.failed(row.name, seed, error)


def _started(call: _Call, seed: int) -> tuple[Bench, Path, Report]:
    """The normally trained model and its scan; another process with this seed waits until they are there."""
    folder = call.work / f"seed-{seed}"
    make_folder(folder)
    with held(folder / _LOCK):
        if call.fresh:
            forget_interrupted(folder / NORMAL_MODEL)
        samples = find_samples(call.recipe, call.data, call.work, seed)
        bench = Bench(call.recipe, seed, folder, samples, call.device, call.told)
        model = trained_normally(bench)
        return bench, model, scanned(bench, model, folder / SCAN)


def _empty(folder: Path) -> None:
    """Remove what a row has made; the lock on it is held."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def _run_row(call: _Call, bench: Bench, model: Path, report: Report, row: Row) -> None:
    folder, before = bench.folder / row.name, len(bench.made)
    result = _result(bench, model, report, row, folder)
    result.save(folder)
    call.told.done(result, made=len(bench.made) > before)


def _result(bench: Bench, model: Path, report: Report, row: Row, folder: Path) -> RowResult:
    """Harden, evaluate, and where the recipe asks for it scan again."""
    recipe = bench.recipe
    made = _made(bench, model, report, row, folder)
    attacks = {attack: evaluated(bench, made.path, folder, attack) for attack in recipe.evaluate}
    if recipe.scan.after:
        scanned(bench, made.path, folder / SCAN_AFTER)
    return RowResult(
        **told_of(recipe, row),
        seed=bench.seed,
        layers=dict(made.gammas),
        places=places_of(made.gammas, report),
        layers_from=made.origin,
        train_eps=_train_eps(recipe, row),
        attacks=attacks,
        training_seconds=made.seconds,
        model_sha256=digest(made.path).sha256,
        machine=machine_line(bench.device),
        versions=versions(),
    )


def _made(bench: Bench, model: Path, report: Report, row: Row, folder: Path) -> Made:
    """The model of a row."""
    if row.base == NORMAL:
        return Made(model, {}, "", seconds_of(model))
    listed = bench.folder / SCAN if row.layers == (MVL,) else None
    return hardened(bench, model, row, folder, layers_of(row, report), listed)


def _train_eps(recipe: Recipe, row: Row) -> float | None:
    if row.base == NORMAL:
        return None
    low, high = recipe.data.range
    return parse_eps(recipe.options_of(row, Path("data")).eps, high - low)


def _require_own(work: Path, recipe: Recipe) -> None:
    """Refuse a folder that holds rows of something else.

    Raises:
        DataError: It does.
    """
    own = {"recipe": recipe.name, "scale": recipe.scale}
    known = read_record(work / _RECIPE)
    if known is None:
        make_folder(work)
        write_record(work / _RECIPE, own)
    elif known != own:
        found = " at scale ".join(str(each) for each in known.values() if each)
        raise DataError(
            f"{str(work)!r} holds rows of {found}, not of {' at scale '.join(filter(None, own.values()))}; "
            "name another folder with -o"
        )


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many threads of torch: on small networks they would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
