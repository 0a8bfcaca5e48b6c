"""The searches from which the recipes have their γ, written as a page.

    python benchmarks/tuning.py WORK docs/tuning.md [--only 'at-fgsm-*,at-pgd-eps']

WORK holds one folder for each search, so that what is done is not done again, and several processes may share it.
The samples are draws of the recipe's data that none of its rows trains or tests on: one for step 1, another for the
trials, of which 1,000 train nothing and score them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine_line  # noqa: E402 - a script finds the repository first
from lsa_trainer.listener import TrainingListener  # noqa: E402
from lsa_trainer.options import HardenOptions  # noqa: E402
from lsa_trainer.recipes import read_recipe  # noqa: E402
from lsa_trainer.recipes.data import find_samples  # noqa: E402
from lsa_trainer.recipes.progress import Rows  # noqa: E402
from lsa_trainer.recipes.recipe import Recipe  # noqa: E402
from lsa_trainer.recipes.stages import Bench, scanned, trained_normally  # noqa: E402
from lsa_trainer.tuning import Tuning, TuningPlan, read_tuning, tune  # noqa: E402
from lsa_trainer.tuning.document import Trial  # noqa: E402

RECIPE = "moon-table2"
# Of step 1 and of the trials; the recipe's seeds are 0 to 4.
STEP_1, TRIALS = 1000, 1001
SAMPLES, HELD_OUT = 5000, 1000
SEEDS = (0, 1)
EPS = ("0", "0.1", "0.2", "0.3", "0.4", "0.5")
BASES = ("at-fgsm", "at-fast", "at-pgd", "at-trades")
RESULT = "trials.json"


@dataclass(frozen=True)
class Search:
    """One search: what it looks for, and what is fixed.

    Attributes:
        name: Of its folder.
        base: The adversarial training.
        search: Names that ``tune`` knows.
        trials: Plain adversarial training included.
        place: Of the regularised layer; ``None`` where the search chooses or there is no term.
        fixed: Options that differ from the recipe's.
    """

    name: str
    base: str
    search: tuple[str, ...]
    trials: int
    place: int | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)


SINGLE = tuple(
    Search(f"{base}-L{place}", base, ("gamma",), 10, place) for base in BASES for place in range(3)
)
# What a larger ε alone is worth.
WIDER = tuple(
    Search(f"{base}-eps", base, ("eps",), 6, fixed={"eps": "0.4", "gamma": "0"})
    for base in ("at-pgd", "at-trades")
)
CHOICES = (
    "gamma", "layers", "inner", "gamma_schedule", "lr_power", "detach_clean", "clean_weight", "eps_schedule", "eps",
)  # fmt: skip
ALL = Search("at-pgd-all", "at-pgd", CHOICES, 30, fixed={"eps": "0.4"})
SEARCHES = (*SINGLE, *WIDER, ALL)


class Told(TrainingListener):
    """Messages as lines, so that a long run shows where it is."""

    def message(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)


def run(search: Search, work: Path) -> None:
    """Search, or go on with it."""
    recipe = read_recipe(RECIPE)
    model, layers = subject(recipe, work)
    data = replace(recipe.data, train=SAMPLES)
    samples = find_samples(replace(recipe, data=data), None, work, TRIALS)
    shared = {
        **recipe.harden,
        "data": samples.train,
        "split": "train",
        "range": recipe.data.range,
        "decision": recipe.data.decision,
        "base": search.base,
        "mvl": () if search.place is None else (layers[search.place],),
        # As many steps as the recipe's rows take on half as many samples.
        "epochs": recipe.harden["epochs"] // 2,
        "validate_every": float(recipe.harden["epochs"] // 2),
        "verify_attack": "apgd-ce",
        "verify_steps": 20,
    }
    options = HardenOptions(**{**shared, **search.fixed})
    plan = TuningPlan(
        trials=search.trials,
        search=search.search,
        seeds=SEEDS,
        score="rg",
        eps_list=EPS,
        held_out=HELD_OUT,
    )
    print(search.name, flush=True)
    tune(model, options, plan, folder=work / search.name, listener=Told())


def subject(recipe: Recipe, work: Path) -> tuple[Path, list[str]]:
    """The model of step 1, and its scanned layers in the order of the graph."""
    samples = find_samples(recipe, None, work, STEP_1)
    folder = work / f"seed-{STEP_1}"
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(recipe, STEP_1, folder, samples, "cpu", Rows(Told(), 1))
    model = trained_normally(bench)
    report = scanned(bench, model, folder / "scan.json")
    return model, [layer.tensor for layer in report.layers]


def page(work: Path) -> Iterator[str]:
    """The page, line by line, from the searches that are there."""
    found = {
        search.name: read_tuning(work / search.name / RESULT)
        for search in SEARCHES
        if (work / search.name / RESULT).exists()
    }
    yield "# Choosing γ and what goes with it"
    yield ""
    yield (
        f"Made by `python benchmarks/tuning.py WORK docs/tuning.md`. {machine_line()}. Two moons, model A, the "
        f"settings of `{RECIPE}` but for what is said. Each search trains on {SAMPLES - HELD_OUT:,} samples and is "
        f"scored on {HELD_OUT:,} others, of a draw that no row of the recipe trains or tests on: the R&G score under "
        f"APGD-CE of 20 steps, ε = {', '.join(EPS)}, mean over {len(SEEDS)} seeds. In brackets the 95 % interval of "
        "the paired bootstrap over samples against plain training, then bounds that hold for all trials of the search "
        "at once. Plain training is a trial of each search."
    )
    singles = [(s, found[s.name]) for s in SINGLE if s.name in found]
    if singles:
        yield from _singles(singles)
    for search in WIDER:
        if search.name in found:
            yield from _wider(search, found[search.name])
    if ALL.name in found:
        yield from _all(found[ALL.name])


def _singles(found: Sequence[tuple[Search, Tuning]]) -> Iterator[str]:
    yield ""
    yield "## γ for a single layer"
    yield ""
    yield "Trained with ε = 0.2. The best γ of each search is that of the recipe's row."
    yield ""
    yield "| base | layer | plain | best γ | R&G | gain | for all trials | clean accuracy |"
    yield "|---|---|---:|---:|---:|---|---|---|"
    for search, tuning in found:
        plain, best = _plain(tuning), tuning.trial(tuning.best)
        gamma = "–" if best.role == "plain" else f"{best.chosen['gamma']}"
        yield (
            f"| {search.base} | L{search.place} | {plain.score:.1f} | {gamma} | {best.score:.1f} | {_gain(tuning)} "
            f"| {_bounds(tuning)} | {_share(plain.clean)} → {_share(best.clean)} |"
        )
    yield ""
    yield "All trials, γ: R&G"
    yield ""
    for search, tuning in found:
        tried = sorted(_searched(tuning), key=lambda trial: float(trial.chosen["gamma"]))
        told = ", ".join(f"{trial.chosen['gamma']}: {trial.score:.1f}" for trial in tried)
        yield f"- {search.base}, L{search.place}: {told}"


def _wider(search: Search, tuning: Tuning) -> Iterator[str]:
    yield ""
    yield f"## A larger ε without the term: {search.base}"
    yield ""
    yield "| ε of training | R&G | clean accuracy |"
    yield "|---|---:|---:|"
    for trial in sorted([_plain(tuning), *_searched(tuning)], key=lambda t: _trained(t, search)):
        yield f"| {_trained(trial, search):g} | {trial.score:.1f} | {_share(trial.clean)} |"


def _all(tuning: Tuning) -> Iterator[str]:
    yield ""
    yield f"## Everything at once: {ALL.base} from ε = {ALL.fixed['eps']} on"
    yield ""
    yield f"{len(tuning.trials)} trials, the best ten and plain training. {_gain(tuning)} {_bounds(tuning)}"
    yield ""
    yield "| chosen | R&G | clean accuracy |"
    yield "|---|---:|---:|"
    ranked = sorted(_searched(tuning), key=lambda trial: -(trial.score or 0.0))
    for trial in [*ranked[:10], _plain(tuning)]:
        told = ", ".join(f"{name} {value}" for name, value in trial.chosen.items())
        told = told if trial.role == "searched" else "plain"
        yield f"| {told} | {trial.score:.1f} | {_share(trial.clean)} |"
    yield ""
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in tuning.importance.items())
    yield f"How much of the differences each choice explains (PED-ANOVA): {shares}."


def _plain(tuning: Tuning) -> Trial:
    return next(trial for trial in tuning.trials if trial.role == "plain")


def _searched(tuning: Tuning) -> list[Trial]:
    return [t for t in tuning.trials if t.role == "searched" and t.score is not None]


def _trained(trial: Trial, search: Search) -> float:
    return float(trial.options.get("eps", search.fixed["eps"]))


def _gain(tuning: Tuning) -> str:
    gain = tuning.gain
    if gain is None:
        return "–"
    return f"{gain.value:+.1f} [{gain.interval[0]:+.1f}, {gain.interval[1]:+.1f}]"


def _bounds(tuning: Tuning) -> str:
    among = None if tuning.gain is None else tuning.gain.among_all
    return "" if among is None else f"[{among[0]:+.1f}, {among[1]:+.1f}]"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def main() -> None:
    """Run the searches that are asked for, and write the page from all that are done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--only", default="*", help="names or wildcards, separated by commas")
    given = parser.parse_args()
    for search in SEARCHES:
        if any(fnmatchcase(search.name, pattern) for pattern in given.only.split(",")):
            run(search, given.work)
    given.page.write_text("\n".join(page(given.work)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
