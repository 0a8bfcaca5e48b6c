"""What tells a run from another that would go on from its checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_trainer.option_checks import PUBLISHED
from lsa_trainer.training.state import require_same_options

RECORD: dict[str, Any] = {
    "epochs": 3, "lr": 0.1, "model": "aa", "samples of the data": "bb", "layers": ["r"]
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"layers": ["h"], "model": "cc"}, "model = 'aa' and this one 'cc'"),
        ({"epochs": 4, "samples of the data": "dd"}, "samples of the data = 'bb' and this one 'dd'"),
        ({"layers": ["h"], "lr": 0.2}, "lr = 0.1 and this one 0.2"),
        ({"lr": None, "epochs": 4}, "epochs = 3 and this one 4"),
        ({"added": 1}, "added = None and this one 1"),
    ],
)  # fmt: skip
def test_the_first_difference_is_named(changes: dict[str, Any], named: str) -> None:
    # A checkpoint has its record in the order of the alphabet.
    saved = dict(sorted(RECORD.items()))
    require_same_options(saved, RECORD)
    with pytest.raises(DataError) as caught:
        require_same_options(saved, {**RECORD, **changes})
    assert str(caught.value) == (
        f"the run in this folder has {named}; go on with the same options, or start anew with --fresh "
        "or in another folder"
    )


def test_a_run_of_before_an_option_goes_on_where_the_option_changes_nothing() -> None:
    require_same_options(RECORD, {**RECORD, **PUBLISHED})
    with pytest.raises(DataError, match=r"has inner = None and this one 'cm'; go on"):
        require_same_options(RECORD, {**RECORD, **PUBLISHED, "inner": "cm"})


def test_what_only_the_saved_run_has_is_a_difference() -> None:
    with pytest.raises(DataError, match=r"has gone = 1 and this one None; go on"):
        require_same_options({**RECORD, "gone": 1}, RECORD)
