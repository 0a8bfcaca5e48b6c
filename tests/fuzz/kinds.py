"""The kinds of cases, and the case of a seed."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import MappingProxyType

from tests.fuzz.case import Case, Maker
from tests.fuzz.data import data_case
from tests.fuzz.documents import config_case, report_case, sidecar_case
from tests.fuzz.models import model_case, real_case

MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        "model": model_case,
        "data": data_case,
        "sidecar": sidecar_case,
        "report": report_case,
        "config": config_case,
        # Of the models in the folder that LSA_ONNX_SHARED names, and therefore in no run of all kinds.
        "real": real_case,
    }
)
# Of a run of all kinds, in percent.
SHARES: Mapping[str, int] = MappingProxyType(
    {"model": 60, "data": 22, "sidecar": 7, "report": 7, "config": 4}
)


def make_case(kind: str, seed: int) -> Case:
    """The case of a seed: the same files and command, always and everywhere."""
    return MAKERS[kind](Random(f"{kind}:{seed}"))  # noqa: S311 - nothing here is secret
