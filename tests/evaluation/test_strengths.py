"""Which strengths an evaluation has."""

from __future__ import annotations

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.evaluation import EvaluationOptions
from lsa_onnx.evaluation.strengths import attack_series, require_zero


@pytest.mark.parametrize("given", [("0",), ("0.3", "0%"), ("8/255", "0/255"), ("2", "0.0")])
def test_a_zero_may_be_written_in_any_way(given: tuple[str, ...]) -> None:
    require_zero(given)


@pytest.mark.parametrize("given", [("0.1",), ("2/255", "8/255"), ("1e-9",)])
def test_strengths_without_zero_are_refused_with_the_list_that_would_do(
    given: tuple[str, ...],
) -> None:
    listed = ",".join(given)
    with pytest.raises(DataError) as caught:
        require_zero(given)
    assert str(caught.value) == (
        f"--eps-list {listed!r} leaves out 0, the clean accuracy, which is part of the R&G score; "
        f"give --eps-list 0,{listed}"
    )


def test_what_is_no_eps_is_told_first() -> None:
    with pytest.raises(DataError, match="eps 'strong' is not a finite number"):
        require_zero(("strong", "0.1"))


def test_each_attack_comes_at_each_strength_in_growing_order() -> None:
    options = EvaluationOptions(attacks=("auto", "fgsm"), eps_list=("10%", "0", "25.5", "2/255"))
    series = attack_series(options, 0.0, 255.0)
    assert [[attack.name for attack, _ in each] for each in series] == [
        ["auto=0", "auto=2", "auto=25.5"],
        ["fgsm=0", "fgsm=2", "fgsm=25.5"],
    ]
    assert [strength.text for _, strength in series[0]] == ["0", "2/255", "10%"]
    assert [each[0][0].cumulative for each in series] == [True, False]
