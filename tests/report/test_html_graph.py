"""The list of layers with branch marks: rails by hand, and that they join exactly what feeds what."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsa_onnx.report.html import render_html
from lsa_onnx.report.html_graph import MOST_RAILS, Rail, fed, feeding, rails, rows, width
from tests.report.examples import small_report
from tests.report.pages import Page
from tests.report.parts import layer_info


def test_a_chain_is_one_straight_rail() -> None:
    assert rails([[], [0], [1]]) == [
        Rail(0, [], [], True),
        Rail(0, [], [0], True),
        Rail(0, [], [0], False),
    ]


def test_a_residual_branch_lies_beside_its_shortcut() -> None:
    # 0 feeds 1 and the sum 3; 1 feeds 2, which feeds the sum.
    assert rails([[], [0], [1], [0, 2], [3]]) == [
        Rail(0, [], [], True),
        Rail(1, [0], [0], True),
        Rail(1, [0], [1], True),
        Rail(0, [], [0, 1], True),
        Rail(0, [], [0], False),
    ]


def test_two_heads_leave_a_free_rail_to_the_next() -> None:
    # 0 feeds two heads; what comes later and has no source takes the leftmost rail that is free.
    assert [rail.lane for rail in rails([[], [0], [0], [], [3]])] == [0, 1, 0, 0, 0]


def test_a_loop_is_left_to_the_links() -> None:
    layers = [layer_info("a", 0, ["b", "elsewhere"]), layer_info("b", 1, ["a", "a"])]
    assert feeding(layers) == [[1], [0]]
    assert fed(feeding(layers)) == [[1], [0]]
    assert rails(feeding(layers)) == [Rail(0, [], [], True), Rail(0, [], [0], False)]


@st.composite
def networks(draw: st.DrawFn) -> list[list[int]]:
    count = draw(st.integers(1, 14))
    return [
        sorted(draw(st.sets(st.integers(0, row - 1), max_size=4))) if row else []
        for row in range(count)
    ]


@given(networks())
def test_rails_join_each_layer_to_what_feeds_it_and_no_other(feeds: list[list[int]]) -> None:
    found = rails(feeds)
    ends = fed(feeds)
    open_lanes: dict[int, int] = {}
    for row, rail in enumerate(found):
        assert {open_lanes[lane] for lane in rail.into} == set(feeds[row])
        open_lanes = {
            lane: source for lane, source in open_lanes.items() if max(ends[source]) > row
        }
        assert rail.through == sorted(open_lanes)
        assert rail.lane not in open_lanes
        assert rail.goes_on == bool(ends[row])
        if rail.goes_on:
            open_lanes[rail.lane] = row
    assert not open_lanes


def test_a_wide_network_keeps_to_the_room() -> None:
    count = 3 * MOST_RAILS
    layers = [layer_info(f"in{n}", n, []) for n in range(count)]
    layers.append(layer_info("sum", count, [layer.tensor for layer in layers]))
    assert width(layers) == width(layers[: MOST_RAILS - 1] + layers[-1:]) + 14
    shown = {"number": 0, "shape": ""}
    assert max(row["at"] for row in rows(layers, [shown] * len(layers))) < width(layers)


def test_width_of_no_layers() -> None:
    assert width([]) > 0


def test_rows_link_to_what_feeds_them() -> None:
    report = small_report()
    last = dataclasses.replace(report.layers[-1], previous=[x.tensor for x in report.layers[1:3]])
    last = dataclasses.replace(last, shape=None, body="loop_0/body")
    page = Page(render_html(dataclasses.replace(report, layers=[*report.layers[:-1], last])))
    assert "Relu · shape unknown · 2,320 weights · in loop_0/body · from 1, 2" in page.text
    assert "from the input · feeds 1" in page.text
    assert "from 1 · feeds 3" in page.text


@pytest.mark.parametrize("number", range(4))
def test_every_layer_can_be_linked_to(number: int) -> None:
    ids = Page(render_html(small_report())).attribute("id")
    assert {f"node-{number}", f"row-{number}"} <= set(ids)
