"""The searches from which the recipes have their γ, written as a page.

    python benchmarks/tuning.py WORK docs/tuning.md [--mnist mnist.npz] [--only 'moon-at-fgsm-*,mnist-*']

WORK holds one folder for each search, so that what is done is not done again, and several processes may share it.
Of two moons, the samples are draws that no row of the recipe trains or tests on: one for step 1, another for the
trials. Of MNIST, they are training images; step 1 saw all of these without an attack. In either case 1,000 samples
train no trial and score them all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine_line  # noqa: E402 - a script finds the repository first
from lsa_trainer.listener import TrainingListener  # noqa: E402
from lsa_trainer.options import HardenOptions  # noqa: E402
from lsa_trainer.recipes import read_recipe  # noqa: E402
from lsa_trainer.recipes.data import find_samples, require_data  # noqa: E402
from lsa_trainer.recipes.progress import Rows  # noqa: E402
from lsa_trainer.recipes.recipe import Recipe  # noqa: E402
from lsa_trainer.recipes.run import threads  # noqa: E402
from lsa_trainer.recipes.stages import Bench, scanned, trained_normally  # noqa: E402
from lsa_trainer.training.claim import held  # noqa: E402
from lsa_trainer.tuning import Tuning, TuningPlan, read_tuning, tune  # noqa: E402
from lsa_trainer.tuning.document import Trial  # noqa: E402

# Of step 1 and of the trials; no row of a recipe has them.
STEP_1, TRIALS = 1000, 1001
HELD_OUT = 1000
RESULT = "trials.json"
MOST_SHOWN = 10
CHOICES = (
    "layers", "inner", "gamma_schedule", "lr_power", "detach_clean", "clean_weight", "eps_schedule",
)  # fmt: skip


@dataclass(frozen=True)
class Search:
    """One search: what it looks for, and what is fixed.

    Attributes:
        name: Of its folder.
        recipe: Its settings are those of the trials.
        search: Names that ``tune`` knows.
        trials: Plain adversarial training included.
        samples: Of the trials, those that score them included.
        seeds: Each trial is trained with each.
        base: The adversarial training.
        place: Of the regularised layer; ``None`` where the search chooses or there is no term.
        score: See ``TuningPlan``.
        fixed: Options that differ from the recipe's.
    """

    name: str
    recipe: str
    search: tuple[str, ...]
    trials: int
    samples: int
    seeds: tuple[int, ...]
    base: str
    place: int | None = None
    score: Literal["robust", "rg"] = "rg"
    fixed: Mapping[str, Any] = field(default_factory=dict)


def moon(name: str, base: str, search: tuple[str, ...], trials: int, **rest: Any) -> Search:
    """On 4,000 samples, with as many steps as the recipe's rows take on half as many."""
    fixed = {"epochs": 20, "validate_every": 20.0, **rest.pop("fixed", {})}
    return Search(
        f"moon-{name}", "moon-table2", search, trials, 5000, (0, 1), base, fixed=fixed, **rest
    )


def mnist(name: str, search: tuple[str, ...], trials: int, **fixed: Any) -> Search:
    """On 12,500 training images, with less than half of the steps of the recipe's rows; more ε, to see differences."""
    told = {
        "eps": "0.4", "epochs": 4, "validate_every": 4.0, "validation": 500, "validation_steps": 10,
    }  # fmt: skip
    return Search(
        f"mnist-{name}", "mnist-table3", search, trials, 13500, (0,), "at-apgd", score="robust",
        fixed={**told, **fixed},
    )  # fmt: skip


SINGLE = tuple(
    moon(f"{base}-L{place}", base, ("gamma",), 10, place=place)
    for base in ("at-fgsm", "at-fast", "at-pgd", "at-trades")
    for place in range(3)
)
# What a larger ε alone is worth.
WIDER = tuple(
    moon(f"{base}-eps", base, ("eps",), 6, fixed={"eps": "0.4", "gamma": "0"})
    for base in ("at-pgd", "at-trades")
)
FREE = (
    moon("all", "at-pgd", ("gamma", *CHOICES, "eps"), 30, fixed={"eps": "0.4"}),
    mnist("layers", ("share", "layers"), 12),
    # At the share that the search before found best.
    mnist("objective", CHOICES[1:], 6, gamma="auto:0.02"),
)
SEARCHES = (*SINGLE, *WIDER, *FREE)


class Told(TrainingListener):
    """Messages as lines, so that a long run shows where it is."""

    def message(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)


def run(search: Search, work: Path, given: Path | None) -> None:
    """Search, or go on with it."""
    recipe = read_recipe(search.recipe)
    folder = work / recipe.name
    made = given if recipe.data.kind == "file" else None
    require_data(recipe, made)
    with threads(recipe.threads):
        model, layers = subject(recipe, made, folder)
        more = replace(recipe, data=replace(recipe.data, train=search.samples))
        samples = find_samples(more, made, folder, TRIALS)
        shared = {
            **recipe.harden,
            **samples.training,
            # Moons are made in that number.
            "samples": None if recipe.data.kind == "moons" else search.samples,
            "range": recipe.data.range,
            "decision": recipe.data.decision,
            "base": search.base,
            "mvl": () if search.place is None else (layers[search.place],),
            "verify_attack": "apgd-ce",
            "verify_steps": 20,
        }
        plan = TuningPlan(
            trials=search.trials,
            search=search.search,
            seeds=search.seeds,
            score=search.score,
            eps_list=recipe.eps_list if search.score == "rg" else (),
            held_out=HELD_OUT,
        )
        print(search.name, flush=True)
        options = HardenOptions(**{**shared, **search.fixed})
        tune(model, options, plan, folder=work / search.name, listener=Told())


def subject(recipe: Recipe, given: Path | None, folder: Path) -> tuple[Path, list[str]]:
    """The model of step 1, and its scanned layers in the order of the graph."""
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / "lock"):
        samples = find_samples(recipe, given, folder, STEP_1)
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
    yield f"Made by `python benchmarks/tuning.py WORK docs/tuning.md --mnist mnist.npz`. {machine_line()}."
    yield ""
    yield (
        "No test sample is used here. The settings are those of the recipes but for what is said; every trial of a "
        f"search has the same budget, and is scored on {HELD_OUT:,} samples that train none of them, under APGD-CE of "
        "20 steps. Plain adversarial training is a trial of each search. Gains over it come with the 95 % interval of "
        "the paired bootstrap over samples, and with bounds that hold for all trials of the search at once, since the "
        "best of many is partly so by chance."
    )
    singles = [(s, found[s.name]) for s in SINGLE if s.name in found]
    if singles:
        yield from _singles(singles)
    for search in WIDER:
        if search.name in found:
            yield from _wider(search, found[search.name])
    for search in FREE:
        if search.name in found:
            yield from _free(search, found[search.name])


def _singles(found: Sequence[tuple[Search, Tuning]]) -> Iterator[str]:
    yield ""
    yield "## Two moons: γ for a single layer"
    yield ""
    yield (
        f"Trained with ε = 0.2 on {_counts(found[0][1])}; the score is R&G, the mean over 2 seeds. The recipe's rows "
        "have the best γ above 0 of their search."
    )
    yield ""
    yield "| base | layer | plain | best γ | R&G | gain | for all trials | clean accuracy |"
    yield "|---|---|---:|---:|---:|---|---|---|"
    for search, tuning in found:
        plain, best = _plain(tuning), tuning.trial(tuning.best)
        gamma = best.chosen.get("gamma", "–")
        yield (
            f"| {search.base} | L{search.place} | {_score(plain)} | {gamma} | {_score(best)} | {_gain(tuning)} "
            f"| {_bounds(tuning)} | {_share(plain.clean)} → {_share(best.clean)} |"
        )
    yield ""
    yield "All trials, γ: R&G"
    yield ""
    for search, tuning in found:
        tried = sorted(_searched(tuning), key=lambda trial: float(trial.chosen["gamma"]))
        told = ", ".join(f"{trial.chosen['gamma']}: {_score(trial)}" for trial in tried)
        yield f"- {search.base}, L{search.place}: {told}"


def _wider(search: Search, tuning: Tuning) -> Iterator[str]:
    yield ""
    yield f"## Two moons: a larger ε without the term, {search.base}"
    yield ""
    yield "| ε of training | R&G | clean accuracy |"
    yield "|---|---:|---:|"
    # The search may draw the ε of plain training once more.
    by_eps = {_trained(trial, search): trial for trial in (*_searched(tuning), _plain(tuning))}
    for eps, trial in sorted(by_eps.items()):
        yield f"| {eps:g} | {_score(trial)} | {_share(trial.clean)} |"


def _free(search: Search, tuning: Tuning) -> Iterator[str]:
    what = "R&G" if tuning.score == "rg" else f"accuracy at ε = {tuning.eps[-1]}"
    yield ""
    yield f"## {'Two moons' if search.name.startswith('moon') else 'MNIST'}: {', '.join(search.search)}"
    yield ""
    gamma = search.fixed.get("gamma")
    told = f"ε = {search.fixed['eps']}" + (f", γ = {gamma} on the MVL list" if gamma else "")
    count = f"{len(tuning.trials)} trials"
    if len(tuning.trials) > MOST_SHOWN + 1:
        count += f", of which these are the best {MOST_SHOWN} and plain training"
    gained = "None beats plain training."
    if tuning.gain is not None:
        gained = f"The best gains {_gain(tuning)}, for all trials {_bounds(tuning) or '–'}."
    yield (
        f"{search.base} with {told}, {search.fixed['epochs']} epochs of {_counts(tuning)}; the "
        f"score is {what}, over seeds {', '.join(map(str, tuning.seeds))}. {count}. {gained}"
    )
    yield ""
    yield f"| chosen | {what} | clean accuracy |"
    yield "|---|---:|---:|"
    ranked = sorted(_searched(tuning), key=lambda trial: -(trial.score or 0.0))
    for trial in [*ranked[:MOST_SHOWN], _plain(tuning)]:
        told = ", ".join(f"{name} {value}" for name, value in trial.chosen.items())
        told = told if trial.role == "searched" else "plain"
        yield f"| {told} | {_score(trial, tuning.score)} | {_share(trial.clean)} |"
    yield ""
    shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in tuning.importance.items())
    yield f"How much of the differences each choice explains (PED-ANOVA): {shares or 'too few trials to say'}."


def _counts(tuning: Tuning) -> str:
    return f"{tuning.training_samples:,} samples"


def _score(trial: Trial, kind: str = "rg") -> str:
    if trial.score is None:
        return "–"
    return f"{trial.score:.1f}" if kind == "rg" else f"{100 * trial.score:.1f}"


def _plain(tuning: Tuning) -> Trial:
    return next(trial for trial in tuning.trials if trial.role == "plain")


def _searched(tuning: Tuning) -> list[Trial]:
    return [t for t in tuning.trials if t.role == "searched" and t.score is not None]


def _trained(trial: Trial, search: Search) -> float:
    return float(trial.options.get("eps", search.fixed["eps"]))


def _gain(tuning: Tuning) -> str:
    gain = tuning.gain
    return (
        "–" if gain is None else f"{_points(tuning, gain.value)} {_between(tuning, gain.interval)}"
    )


def _bounds(tuning: Tuning) -> str:
    among = None if tuning.gain is None else tuning.gain.among_all
    return "" if among is None else _between(tuning, among)


def _between(tuning: Tuning, bounds: tuple[float, float]) -> str:
    return f"[{', '.join(_points(tuning, bound) for bound in bounds)}]"


def _points(tuning: Tuning, value: float) -> str:
    return f"{value if tuning.score == 'rg' else 100 * value:+.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def main() -> None:
    """Run the searches that are asked for, and write the page from all that are done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--mnist", type=Path, help="MNIST as an npz")
    parser.add_argument("--only", default="*", help="names or wildcards, separated by commas")
    given = parser.parse_args()
    for search in SEARCHES:
        if any(fnmatchcase(search.name, pattern) for pattern in given.only.split(",")):
            run(search, given.work, given.mnist)
    given.page.write_text("\n".join(page(given.work)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
