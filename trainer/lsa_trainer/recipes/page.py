"""A page of results in Markdown, made of the JSON files of rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsa_onnx.errors import DataError
from lsa_trainer.recipes.comparing import Group, base_of, gain, grouped, published_gain
from lsa_trainer.recipes.figures import Difference, Mean, mean_over_seeds
from lsa_trainer.recipes.results import RowResult

_NAMES = {"fgsm": "FGSM", "pgd": "PGD", "apgd": "APGD", "auto": "auto", "square": "Square"}
# The publication evaluates with FGSM alone.
_PUBLISHED_UNDER = "fgsm"


def results_page(results: Sequence[RowResult]) -> str:
    """Ours beside what was published, and what the layer-wise term adds, in Markdown.

    Args:
        results: Of one recipe at one scale, for any rows and seeds.

    Raises:
        DataError: There are none, or they are of several recipes.
    """
    if not results:
        raise DataError("no row is done yet, so there is nothing to show; run one first")
    if len({(result.recipe, result.scale) for result in results}) > 1:
        names = ", ".join(sorted({result.recipe for result in results}))
        raise DataError(f"rows of {names} do not belong on one page; give those of one recipe")
    groups = grouped(results)
    attacks = list(results[0].attacks)
    lines = [*_head(groups), *_settings(groups)]
    for attack in attacks:
        lines += _table(groups, attack)
    lines += [*_gains(groups, attacks), *_times(groups), *_notes()]
    return "\n".join(lines) + "\n"


def _head(groups: Sequence[Group]) -> Iterator[str]:
    first = groups[0].first
    at = f" at scale `{first.scale}`, which is for a quick look" if first.scale else ""
    yield f"# {first.title}"
    yield ""
    yield f"{first.source}, run anew by `lsa-onnx recipe {first.recipe}`{at}."
    yield ""


def _settings(groups: Sequence[Group]) -> Iterator[str]:
    first = groups[0].first
    sizes = ", ".join(f"{found.n:,} under {_name(name)}" for name, found in first.attacks.items())
    seeds = sorted({result.seed for group in groups for result in group.results})
    yield f"- Test samples: {sizes}. Seeds: {', '.join(map(str, seeds))}. η = {first.eta:g}."
    for name, found in first.attacks.items():
        steps = found.parameters.get("steps")
        taken = "" if steps is None else f", {steps} steps"
        yield f"- {_name(name)}: ε = {', '.join(f'{e:g}' for e in found.eps)}{taken}."
    trained = sorted({g.first.train_eps for g in groups if g.first.train_eps is not None})
    if trained:
        yield f"- ε of training: {', '.join(f'{e:g}' for e in trained)}."
    machines = dict.fromkeys(result.machine for group in groups for result in group.results)
    versions = ", ".join(f"{name} {number}" for name, number in first.versions.items())
    yield f"- Machine: {'; '.join(machines)} ({versions})."
    yield ""


def _table(groups: Sequence[Group], attack: str) -> Iterator[str]:
    """Accuracies at each ε."""
    eps = groups[0].first.attacks[attack].eps
    yield f"## Under {_name(attack)}"
    yield ""
    yield from _header("training", *(f"ε = {e:g}" for e in eps), "R&G", "seeds")
    for group in groups:
        cells = [_mean(each) for each in (*group.accuracies(attack), group.r_and_g(attack))]
        yield _line(group.first.row, *cells, str(len(group.results)))
        if attack == _PUBLISHED_UNDER and group.first.published:
            shown = [f"*{value:.2f}*" for value in group.first.published]
            yield _line("*published*", *shown, f"*{group.published_r_and_g or 0:.2f}*", "")
    yield ""


def _gains(groups: Sequence[Group], attacks: Sequence[str]) -> Iterator[str]:
    """Each row against its base."""
    pairs = [(group, base_of(group, groups)) for group in groups]
    found = [(group, base) for group, base in pairs if base is not None]
    if not found:
        return
    yield "## Gains over the base"
    yield ""
    yield (
        "Points over the row of the same base without the layer-wise term, paired by seed and test sample; at the ε "
        "that this was trained with, and in R&G."
    )
    yield ""
    columns = [f"{what}, {_name(a)}" for a in attacks for what in ("ΔR&G", "Δ at trained ε")]
    yield from _header("training", "ε of training", "layers", "γ", "published ΔR&G", *columns)
    verdicts: dict[str, list[tuple[str, Difference]]] = {attack: [] for attack in attacks}
    for group, base in found:
        cells = []
        for attack in attacks:
            gained = gain(group, base, attack)
            cells += ["–", "–"] if gained is None else [
                _difference(gained.r_and_g), _difference(gained.at_trained)
            ]  # fmt: skip
            if gained is not None and group.regularised:
                verdicts[attack].append((group.first.row, gained.r_and_g))
        published = published_gain(group, base)
        told = "–" if published is None else f"{published:+.2f}"
        trained = f"{group.first.train_eps or 0:g}"
        yield _line(group.first.row, trained, _layers(group), _gammas(group), told, *cells)
    yield ""
    for attack, each in verdicts.items():
        yield from _verdict(attack, each)
    yield ""


def _verdict(attack: str, found: Sequence[tuple[str, Difference]]) -> Iterator[str]:
    """Where a gain in R&G holds, in words."""
    kinds = {
        "gains": [name for name, each in found if each.low > 0],
        "loses": [name for name, each in found if each.high < 0],
        "neither gains nor loses for certain": [name for name, each in found if not each.holds],
    }
    for told, names in kinds.items():
        if names:
            yield (
                f"- Under {_name(attack)} the term {told} R&G in {len(names)} of {len(found)} rows: "
                f"{', '.join(names)}."
            )


def _times(groups: Sequence[Group]) -> Iterator[str]:
    yield "## Seconds per row"
    yield ""
    yield from _header("training", "training", "evaluation")
    for group in groups:
        training = mean_over_seeds([result.training_seconds for result in group.results])
        evaluation = mean_over_seeds(
            [sum(each.seconds for each in result.attacks.values()) for result in group.results]
        )
        yield _line(group.first.row, f"{training.value:.1f}", f"{evaluation.value:.1f}")
    yield ""


def _notes() -> Iterator[str]:
    yield (
        "Accuracies are in percent: the mean over seeds ± half of Student's 95 % interval. R&G is their sum over ε. "
        "Intervals of differences are of 95 %, too: test samples are drawn with replacement, and what seeds add is "
        "drawn from Student's t with the spread of their differences. With a single seed an interval is for that "
        "seed alone. Each interval is for its row alone: of twenty differences that are none, one is shown as certain "
        "in the mean."
    )


def _layers(group: Group) -> str:
    """Places of regularised layers; those that a scan chose may differ by seed."""
    chosen = dict.fromkeys(
        ", ".join(f"L{place}" for place in result.places) or "–" for result in group.results
    )
    return " or ".join(chosen)


def _gammas(group: Group) -> str:
    values = sorted({round(g, 4) for r in group.results for g in r.layers.values()})
    shown = [f"{value:.3g}" for value in values]
    return " to ".join(dict.fromkeys([shown[0], shown[-1]])) if shown else "–"


def _name(attack: str) -> str:
    return _NAMES.get(attack, attack)


def _mean(mean: Mean) -> str:
    return f"{mean.value:.2f}" + ("" if mean.half is None else f" ± {mean.half:.2f}")


def _difference(found: Difference | None) -> str:
    if found is None:
        return "–"
    told = f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"
    return f"**{told}**" if found.holds else told


def _header(*cells: str) -> Iterator[str]:
    yield _line(*cells)
    yield _line("---", *("---:" for _ in cells[1:]))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
