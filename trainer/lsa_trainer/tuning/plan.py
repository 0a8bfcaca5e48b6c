"""What a search looks for, how much it may cost, and how its trials are scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from lsa_onnx.attacks import parse_eps
from lsa_onnx.attacks.choices import unknown
from lsa_onnx.errors import DataError
from lsa_onnx.scanning.options import MAX_SEED
from lsa_trainer.options import HardenOptions

INSTALL = "pip install 'lsa-onnx[tune]'"
Score = Literal["robust", "rg"]
SCORES: tuple[Score, ...] = ("robust", "rg")
# What can be searched, and in what range; ``space`` draws from it.
SEARCHABLE: Mapping[str, str] = {
    "gamma": "γ of the layer-wise term: 0.01 to 100, on a logarithmic scale",
    "share": "γ balanced in place of that, so that the term starts as this share of J: 0.01 to 1, likewise",
    "eta": "η, 0 to 2: each value that gives another MVL list, once",
    "layers": "what is regularised: the MVL list, one layer alone, or the k layers of largest growth",
    "inner": "what the training attack maximises",
    "gamma_schedule": "how γ changes over the run",
    "lr_power": "the term is of the CM, or of its square",
    "detach_clean": "whether the clean representation is a constant in the term",
    "clean_weight": "weight of the loss on clean inputs: 0 to 0.5, in steps of 0.1",
    "eps_schedule": "how ε changes over the run",
    "eps": "ε of training over the ε that is tested: 1 to 1.5, in steps of 0.1",
    "base": "the adversarial training that the term is added to",
}
# These change the layer-wise term alone: with γ = 0 they change nothing.
OF_THE_TERM = frozenset(
    {"gamma", "share", "eta", "layers", "gamma_schedule", "lr_power", "detach_clean"}
)
# A dimension that is no option of the same name.
_NO_FIELDS = frozenset({"share", "eta", "layers"})


@dataclass(frozen=True)
class TuningPlan:
    """A search.

    Attributes:
        trials: How many settings are trained, plain adversarial training included.
        timeout: Seconds after which no further trial begins; ``None`` for no bound.
        search: What is searched, of ``SEARCHABLE``.
        seeds: A trial is trained once with each; empty for the seed of the options.
        score: "robust": accuracy under the attack at the ε of the options; "rg": the R&G score over ``eps_list``.
        eps_list: Strengths of the R&G score, 0 among them.
        held_out: Training samples that score the trials; at most a fifth of all.

    Raises:
        DataError: A value is not usable.
    """

    trials: int = 20
    timeout: float | None = None
    search: tuple[str, ...] = ("gamma", "eta", "layers")
    seeds: tuple[int, ...] = ()
    score: Score = "robust"
    eps_list: tuple[str, ...] = ()
    held_out: int = 1000

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise unknown("score", self.score, SCORES)
        for name in self.search:
            if name not in offered():
                raise unknown("choice to search", name, offered())
        if not self.search:
            raise DataError(f"there is nothing to search; give some of {', '.join(offered())}")
        _require_at_least("--trials", self.trials, 2, "plain training is the first")
        _require_at_least("--held-out", self.held_out, 1, "they score the trials")
        if self.timeout is not None and not self.timeout > 0:
            raise DataError(f"--timeout {self.timeout:g} is not usable; give seconds, more than 0")
        _require_seeds(self.seeds)
        _require_strengths(self.score, self.eps_list)


def offered() -> tuple[str, ...]:
    """What can be searched with the options that a hardening has."""
    fields = {field.name for field in dataclasses.fields(HardenOptions)}
    return tuple(name for name in SEARCHABLE if name in fields | _NO_FIELDS)


def require_search(options: HardenOptions, plan: TuningPlan) -> None:
    """Refuse a search whose trials would all be the same, or look for what the options say.

    Raises:
        DataError: That is so.
    """
    looking = [name for name in ("layers", "eta") if name in plan.search]
    if options.mvl and looking:
        raise DataError(
            f"--mvl {','.join(options.mvl)!r} names the layers that --search {looking[0]} looks for; leave one "
            "of them out"
        )
    weighed = "gamma" in plan.search or "share" in plan.search or options.gamma.strip() != "0"
    if not weighed and OF_THE_TERM.issuperset(plan.search):
        raise DataError(
            f"--gamma {options.gamma} takes the layer-wise term away, so --search {','.join(plan.search)} would "
            "change nothing; leave --gamma out, or search gamma as well"
        )


def require_optuna() -> None:
    """Refuse to go on without the extra.

    Raises:
        DataError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise DataError(
            f"tuning needs optuna, which this Python does not have; install it with: {INSTALL}"
        )


def _require_at_least(flag: str, value: int, least: int, why: str) -> None:
    if value < least:
        raise DataError(f"{flag} {value} is not usable; give {least} or more: {why}")


def _require_seeds(seeds: Sequence[int]) -> None:
    for seed in seeds:
        if not 0 <= seed <= MAX_SEED:
            raise DataError(f"--seeds: {seed} is not usable; give numbers of 0 to {MAX_SEED}")
    if len(set(seeds)) != len(seeds):
        raise DataError(f"--seeds {','.join(map(str, seeds))} names one twice; give each once")


def _require_strengths(score: Score, texts: Sequence[str]) -> None:
    if score == "robust":
        if texts:
            raise DataError(
                f"--eps-list {','.join(texts)} is for --score rg; the robust accuracy is that at --eps"
            )
        return
    # In units of a range of width 1, which is enough to tell 0 from others.
    if not any(parse_eps(text, 1.0) == 0 for text in texts):
        raise DataError(
            f"--eps-list {','.join(texts)!r} holds no 0, and the R&G score counts the clean accuracy; give one "
            "such as 0,2/255,4/255,8/255"
        )
