"""Of every option of every command somebody has decided who may set it."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from lsa_cli import option_kinds
from lsa_cli.main import COMMANDS, load
from lsa_cli.option_kinds import Kind, key_of, keys_of, kind_of, options_of, variables_of


def every_option() -> Iterator[tuple[str, click.Option]]:
    for name in COMMANDS:
        for option in options_of(load(name)).values():
            yield name, option


def test_each_text_is_a_value_a_path_or_for_the_command_line() -> None:
    decided = option_kinds._FLAGS | option_kinds._READ | option_kinds._WRITTEN | option_kinds._PLAIN
    undecided = {
        f"{name} {key_of(option)}"
        for name, option in every_option()
        if option.name not in decided and not option_kinds._cannot_be_a_path(option)
    }
    assert undecided == set(), "add each to a set in lsa_cli/option_kinds.py"
    known = {option.name for _, option in every_option()}
    assert decided - known == set()


def test_no_option_is_of_two_kinds() -> None:
    sets = (option_kinds._FLAGS, option_kinds._READ, option_kinds._WRITTEN, option_kinds._PLAIN)
    assert len(frozenset().union(*sets)) == sum(map(len, sets))


def test_what_is_written_is_known_by_how_help_calls_it() -> None:
    for name, option in every_option():
        metavar = str(option.metavar)
        if metavar.startswith(("FILE", "OUT", "BEST", "WORK", "FOLDER")):
            assert kind_of(option) is not Kind.PLAIN, (name, key_of(option))


def test_a_text_that_nobody_looked_at_is_for_the_command_line() -> None:
    assert kind_of(click.Option(["--sarif"])) is Kind.FLAG
    assert kind_of(click.Option(["--folder"], type=click.Path())) is Kind.FLAG
    assert kind_of(click.Option(["--most"], type=int)) is Kind.PLAIN
    assert kind_of(click.Option(["--fast"], is_flag=True)) is Kind.PLAIN
    assert variables_of(click.Option(["--sarif"]), "scan") == []


@pytest.mark.parametrize("key", ["custom-ops", "no-check"])
def test_neither_code_nor_the_check_is_up_to_a_file(key: str) -> None:
    found = [option for _, option in every_option() if key_of(option) == key]
    assert found
    assert {kind_of(option) for option in found} == {Kind.FLAG}


def test_names() -> None:
    options = options_of(load("harden"))
    assert variables_of(options["max_memory_bytes"], "harden") == [
        "LSA_ONNX_HARDEN_MAX_MEMORY", "LSA_ONNX_MAX_MEMORY",
    ]  # fmt: skip
    assert variables_of(options_of(load("decision-boundary"))["range_"], "decision-boundary") == [
        "LSA_ONNX_DECISION_BOUNDARY_RANGE", "LSA_ONNX_RANGE",
    ]  # fmt: skip
    assert keys_of(options["batch_norm"]) == ["batch-norm", "bn"]
    assert variables_of(options["config"], "harden") == []


def test_a_variable_means_one_thing() -> None:
    general, own = set(), set()
    for name, option in every_option():
        first, second = variables_of(option, name) or (None, None)
        own.add(first)
        general.add(second)
    assert (general & own) - {None} == set()
    assert "LSA_ONNX_CONFIG" not in general | own
