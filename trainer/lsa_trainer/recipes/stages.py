"""The steps of a run, each kept with what it was made of, and made again only when that has changed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsa_onnx.evaluation import evaluate
from lsa_onnx.model import digest
from lsa_onnx.report import Report, read_report, write_json
from lsa_onnx.report.json_file import read_evaluation
from lsa_onnx.scanning import scan
from lsa_trainer.fitting import fit
from lsa_trainer.hardening import harden
from lsa_trainer.options import HardenOptions
from lsa_trainer.recipes.architectures import SAMPLE_SHAPES, build
from lsa_trainer.recipes.data import Samples, training_samples
from lsa_trainer.recipes.progress import Rows
from lsa_trainer.recipes.recipe import NORMAL, Recipe, Row
from lsa_trainer.recipes.results import ROW, Attacked, read_record, write_record
from lsa_trainer.recipes.specified import evaluation_options, normal_options, scan_options

NORMAL_MODEL = "normal.onnx"
ROW_MODEL = "model.onnx"
SCAN, SCAN_AFTER = "scan.json", "scan-after.json"
_RUN = "run"
# Of evaluations: the same samples and random starts for every row and seed, so that rows can be paired.
_EVALUATION_SEED = 0


@dataclass(frozen=True)
class Bench:
    """What all steps of one seed share.

    Attributes:
        recipe: What is run.
        seed: Of it.
        folder: Of the seed.
        samples: To train and to test with.
        device: "auto", "cpu", "cuda" or "cuda:N".
        told: Of progress.
        made: What this call has made.
    """

    recipe: Recipe
    seed: int
    folder: Path
    samples: Samples
    device: str
    told: Rows
    made: list[str] = field(default_factory=list)

    @property
    def subject(self) -> dict[str, Any]:
        """Options of the tool that say what samples mean, and where to run."""
        data = self.recipe.data
        return {"range": data.range, "decision": data.decision, "device": self.device}


@dataclass(frozen=True)
class Made:
    """The model of a row: its file, γ by layer, who chose those, and how long it took."""

    path: Path
    gammas: Mapping[str, float]
    origin: str
    seconds: float


def model_of(folder: Path, row: Row) -> Path:
    """Where a run keeps the model of a row, in the folder of its seed."""
    return folder / NORMAL_MODEL if row.base == NORMAL else folder / row.name / ROW_MODEL


def trained_normally(bench: Bench) -> Path:
    """Step 1: the network, trained without an attack, as an ONNX file.

    Raises:
        LsaError: It cannot be trained or exported.
    """
    recipe, model = bench.recipe, bench.folder / NORMAL_MODEL
    options = normal_options(recipe, bench.seed)
    asked = {
        "options": dataclasses.asdict(options),
        "architecture": [recipe.architecture, recipe.width],
        "data": _data_record(bench),
    }

    def make(folder: Path) -> Mapping[str, Any]:
        x, y = training_samples(
            recipe, bench.samples, SAMPLE_SHAPES[recipe.architecture], bench.seed
        )
        low, high = recipe.data.range
        fit(
            build(recipe, bench.seed),
            x,
            y,
            options=options,
            folder=folder,
            low=low,
            high=high,
            device=bench.device,
            listener=bench.told.bars,
            export=model,
            binary=recipe.data.decision == "binary",
        )
        return {"sha256": digest(model).sha256}

    _kept(bench, model, asked, _run_of(model), make)
    return model


def forget_interrupted(model: Path) -> None:
    """Let step 1 start anew if it has not ended."""
    if not model.exists():
        shutil.rmtree(_run_of(model), ignore_errors=True)


def scanned(bench: Bench, model: Path, path: Path) -> Report:
    """The scan of a model on training samples, kept at ``path``.

    Raises:
        LsaError: It cannot be scanned.
    """
    options = scan_options(bench.recipe, **bench.samples.training, **bench.subject, seed=bench.seed)
    asked = {
        "scan": dataclasses.asdict(bench.recipe.scan),
        "model": digest(model).sha256,
        "data": _data_record(bench),
    }

    def make(_folder: Path) -> Mapping[str, Any]:
        write_json(scan(model, options, bench.told.bars), path)
        return {}

    _kept(bench, path, asked, None, make)
    return read_report(path)


def hardened(
    bench: Bench, model: Path, row: Row, folder: Path, layers: tuple[str, ...], report: Path | None
) -> Made:
    """The model of a row.

    Args:
        bench: What is run.
        model: The normally trained one.
        row: How it is hardened.
        folder: Of the row.
        layers: Tensors to regularise; empty for none, or for those of ``report``.
        report: A scan whose MVL list is regularised.

    Raises:
        LsaError: It cannot be hardened.
    """
    output = folder / ROW_MODEL
    options = bench.recipe.options_of(
        row,
        **bench.samples.training,
        **bench.subject,
        samples=bench.recipe.data.train,
        seed=bench.seed,
        mvl=layers,
        report=report,
        # A row of a table is there whether or not it is better.
        force=True,
    )
    asked = {
        "options": _comparable(options),
        "model": digest(model).sha256,
        "data": _data_record(bench),
    }

    def make(run: Path) -> Mapping[str, Any]:
        found = harden(model, output, options, folder=run, listener=bench.told.bars)
        return {
            "sha256": digest(output).sha256,
            "layers": dict(found.layers),
            "from": found.layers_from,
        }

    record = _kept(bench, output, asked, folder / _RUN, make)
    return Made(output, record["layers"], record["from"], record["seconds"])


def evaluated(bench: Bench, model: Path, folder: Path, attack: str) -> Attacked:
    """What a model gets right under one attack at every ε, on test samples.

    Raises:
        LsaError: It cannot be evaluated.
    """
    path = folder / f"evaluation-{attack}.json"
    options = evaluation_options(
        bench.recipe, attack, **bench.samples.testing, **bench.subject, seed=_EVALUATION_SEED
    )
    asked = {
        "evaluation": dataclasses.asdict(bench.recipe.evaluate[attack]),
        "eps": bench.recipe.eps_list,
        "model": digest(model).sha256,
        "data": _data_record(bench),
    }

    def make(_folder: Path) -> Mapping[str, Any]:
        write_json(evaluate(model, options, bench.told.bars), path)
        return {}

    record = _kept(bench, path, asked, None, make)
    return Attacked.of(read_evaluation(path), attack, record["seconds"])


def seconds_of(path: Path) -> float:
    """How long what is kept at ``path`` took to make."""
    record = read_record(_record_path(path))
    return float(record["seconds"]) if record is not None else 0.0


def _kept(
    bench: Bench,
    path: Path,
    asked: Mapping[str, Any],
    run: Path | None,
    make: Callable[[Path], Mapping[str, Any]],
) -> Mapping[str, Any]:
    """The record of what is at ``path``, made now if it is not there or of something else.

    Args:
        bench: Told of what changed.
        path: What ``make`` writes.
        asked: JSON-ready; what it is made of.
        run: A folder from which a killed ``make`` goes on; removed once that is of something else.
        make: Gives what is to be known of it beside the time that it took.
    """
    of, where = json.loads(json.dumps(asked)), _record_path(path)
    known = read_record(where)
    same = known is not None and known.get("of") == of
    if known is not None and same and "seconds" in known and path.exists():
        return known
    if not same:
        _clear(bench, path, run, known)
        write_record(where, {"of": of})
    spent = float(known.get("spent", 0.0)) if known is not None and same else 0.0
    started = time.perf_counter()
    try:
        found = make(run or path.parent)
    except BaseException:
        # What goes on later took this time, too. (A process that is killed outright cannot tell.)
        write_record(where, {"of": of, "spent": spent + time.perf_counter() - started})
        raise
    record = {"of": of, **found, "seconds": spent + time.perf_counter() - started}
    write_record(where, record)
    bench.made.append(path.name)
    return record


def _clear(bench: Bench, path: Path, run: Path | None, known: Mapping[str, Any] | None) -> None:
    """Remove what is of something else than is asked for, and the results that were had from it."""
    if known is not None:
        bench.told.changed(path)
    if run is not None:
        shutil.rmtree(run, ignore_errors=True)
    for stale in (path, path.parent / ROW, *path.parent.glob(f"*/{ROW}")):
        stale.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.made.json")


def _run_of(model: Path) -> Path:
    """Where the training of step 1 keeps its checkpoints."""
    return model.with_name(f"{model.name}.{_RUN}")


def _comparable(options: HardenOptions) -> dict[str, Any]:
    """Options without where files lie."""
    record = options.to_record()
    for name in ("data", "report", "device"):
        record.pop(name, None)
    return record


def _data_record(bench: Bench) -> dict[str, Any]:
    """What the samples are made of, or name and size of their file: to read it all would take long."""
    spec, file = dataclasses.asdict(bench.recipe.data), bench.samples.train
    spec.pop("source")
    if bench.recipe.data.kind == "moons":
        return spec
    return {**spec, "file": file.name, "bytes": file.stat().st_size if file.is_file() else None}
