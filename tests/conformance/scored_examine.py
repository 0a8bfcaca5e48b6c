"""Examines one case: is every tensor of it scored or explained, and does that change nothing?"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from lsa_onnx.errors import LsaError, ModelError
from lsa_onnx.report.document import LayerInfo, NotScored
from lsa_onnx.runtime.session import Session
from tests.conformance.cases import Case
from tests.conformance.scored_checks import (
    Changed,
    is_steady,
    require_right_scores,
    require_right_twin,
    require_same_outputs,
    stands_noise,
)
from tests.conformance.scored_outcomes import Account, Fate
from tests.conformance.scored_subject import CPU, Loaded, load, made_tensors, open_bench

# What ONNX Runtime says of a case that it does not run → how the table calls it.
_NOT_RUN = {
    "NOT_IMPLEMENTED|not a registered function": "no kernel",
    "model.cc|model_load_utils": "an opset that it does not know",
    "INVALID_GRAPH|Type Error": "not valid to its checks",
    "": "it fails at the inputs that come with the case",
}
# It runs the model, but its Python interface cannot hand over the inputs or outputs.
_NO_ARRAY = re.compile("converted to MLDataType|No corresponding Numpy type")

# What tells one case from another in a reason: quoted names, paths of bodies, sizes.
_NAMES = {
    r"(?<!\w)'[^']*'": "…",
    r"[^\s']+/(?:body|then_branch|else_branch)\b": "…",
    r"\[[^]]*\]": "[…]",
    r"\(\d[^)]*\)": "(…)",
    r"\bbatch of \d+": "batch of …",
}


class Chosen(Protocol):
    """Something that accounts for tensors."""

    @property
    def layers(self) -> list[LayerInfo]: ...

    @property
    def not_scored(self) -> list[NotScored]: ...


def examine(case: Case) -> Account:
    """Take ``case`` as a scan of all layers does, and hold what that finds to plain runs and to numpy.

    What goes wrong is an outcome too, so that one table can tell all of it.
    """
    blank = Account(case.name, case.group, Fate.SCORED)
    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        tempfile.TemporaryDirectory() as folder,
    ):
        warnings.simplefilter("ignore")
        try:
            return _examined(blank, case, Path(folder))
        except Changed as change:
            return replace(blank, fate=Fate.CHANGED, reason=str(change))
        except Exception as error:  # noqa: BLE001 - a defect, which the table and its test report
            return replace(blank, fate=Fate.ERROR, reason=f"{type(error).__name__}: {error}")


def kind_of(reason: str) -> str:
    """A reason without names, shapes and advice."""
    short = reason.partition("; ")[0].partition(": its inputs are ")[0]
    for pattern, text in _NAMES.items():
        short = re.sub(pattern, text, short)
    return short


def _examined(blank: Account, case: Case, folder: Path) -> Account:
    refusal = _refusal(case)
    if refusal and not _NO_ARRAY.search(refusal):
        kind = next(kind for text, kind in _NOT_RUN.items() if re.search(text, refusal))
        return replace(blank, fate=Fate.NOT_RUN, reason=kind)
    try:
        loaded = load(case, folder)
    except LsaError as error:
        return replace(blank, fate=Fate.REFUSED, reason=_refused(error))
    if refusal:
        return _without_numbers(blank, loaded)
    return _with_numbers(blank, loaded, folder)


def _refusal(case: Case) -> str:
    """What ONNX Runtime says of a case that it does not run, "" if it does."""
    try:
        Session(case.model, CPU).run(case.feeds)
    except ModelError as error:
        return str(error.__cause__)
    return ""


def _refused(error: LsaError) -> str:
    """The kind of a refusal; one in the words of ONNX Runtime, which runs the case, is a defect."""
    if error.__cause__ is not None:
        raise error
    return kind_of(str(error))


def _without_numbers(blank: Account, loaded: Loaded) -> Account:
    """Of a case that cannot be fed: its tensors are accounted for, and can be exposed."""
    loaded.exposing("none")
    reason = f"an input or output of {', '.join(loaded.types_without_arrays)}"
    return _counted(replace(blank, fate=Fate.NO_ARRAY, reason=reason), loaded, loaded.plan)


def _with_numbers(blank: Account, loaded: Loaded, folder: Path) -> Account:
    steady = is_steady(loaded)
    account = replace(blank, exact=require_same_outputs(loaded, steady=steady))
    if loaded.perturbed is not None and not stands_noise(loaded, loaded.perturbed):
        reason = "the model fails at its inputs with noise"
        return _counted(replace(account, fate=Fate.NO_INPUT, reason=reason), loaded, loaded.plan)
    if steady and loaded.perturbed is not None:
        require_right_twin(loaded, loaded.perturbed)
    try:
        bench = open_bench(loaded, folder)
    except LsaError as error:
        fate = Fate.NO_INPUT if loaded.perturbed is None else Fate.REFUSED
        return _counted(replace(account, fate=fate, reason=_refused(error)), loaded, loaded.plan)
    require_right_scores(loaded, bench, steady=steady)
    scored = Fate.SCORED if bench.instrument.layers else Fate.EXPLAINED
    account = replace(account, fate=scored if steady else Fate.RANDOM)
    return _counted(account, loaded, bench.instrument)


def _counted(account: Account, loaded: Loaded, chosen: Chosen) -> Account:
    """The account with its tensors counted: each one must be scored or have a reason, exactly once."""
    told = [*(i.tensor for i in chosen.layers), *(i.tensor for i in chosen.not_scored)]
    if account.fate is not Fate.REFUSED:
        reasons = Counter(kind_of(item.reason) for item in chosen.not_scored)
        account = replace(account, exposed=len(chosen.layers), not_scored=reasons)
    wrong = unaccounted(list(made_tensors(loaded.model.proto.graph)), told)
    wrong += [item.tensor for item in chosen.not_scored if not item.reason]
    return replace(account, fate=Fate.UNACCOUNTED, reason=str(wrong)) if wrong else account


def unaccounted(made: Sequence[str], told: Sequence[str]) -> list[str]:
    """Tensors that are missing from ``told`` or too many there.

    A name that several bodies use has the path of its body in front there.
    """
    own = {name for name, count in Counter(made).items() if count == 1}
    wrong = sorted(own - set(told)) + [n for n, count in Counter(told).items() if count > 1]
    shared = [name for name in told if name not in own]
    return wrong + (shared if len(shared) != len(made) - len(own) else [])
