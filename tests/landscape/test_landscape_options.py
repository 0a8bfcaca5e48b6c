"""What a landscape can be told, and what it refuses in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.landscape import LandscapeOptions

DATA = Path("data.npz")
SCAN = Path("scan.json")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data": None}, "there are none; give them with --data"),
        ({"space": "output"}, "--space 'output' is not known; give input or weights"),
        ({"points": 24}, "--points 24 is even, which would leave out the centre; give an odd number"),
        ({"points": 1}, "--points 1 is not usable; give an odd number from 3"),
        ({"points": 100001}, "--points 100001 is not usable"),
        ({"extent": "0"}, "--extent '0' spans no plane in input space; give a distance"),
        ({"extent": "-3%"}, "'-3%' is negative"),
        ({"extent": "far"}, "'far' is not a finite number"),
        ({"space": "weights", "extent": "8/255"}, "--extent '8/255' spans no plane in weights space"),
        ({"space": "weights", "extent": "inf"}, "--extent 'inf' spans no plane"),
        ({"proposals": ("each",)}, "--proposals each is for --space weights"),
        ({"mvl": ("a", "b")}, "--mvl a,b is for --space weights"),
        ({"report": SCAN}, "--report scan.json is for --space weights"),
        ({"eps": "4/255"}, "--eps 4/255 is for --space weights"),
        ({"steps": 3}, "--steps 3 is for --space weights"),
        ({"attack": "fgsm"}, "--attack fgsm is for --space weights"),
        ({"gamma": "0.3"}, "--gamma 0.3 is for --space weights"),
        ({"space": "weights", "proposals": ("all",)}, "'all' is none; accepted are none, each, mvl"),
        ({"space": "weights", "proposals": ()}, "an empty list is none"),
        ({"space": "weights", "objective": "ce"}, "--objective 'ce' is for --space input"),
        ({"space": "weights", "mvl": ("a",), "report": SCAN}, "both name the layers; give one"),
        ({"space": "weights", "attack": "noise"}, "--attack 'noise' is not known; accepted are"),
        ({"samples": 0}, "--samples 0 is not usable"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(map(str, value)),
)  # fmt: skip
def test_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        LandscapeOptions(**{"data": DATA, **given})
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_reach_is_read_in_the_units_of_the_space() -> None:
    assert LandscapeOptions(data=DATA).reach(255.0) == 8.0
    assert LandscapeOptions(data=DATA, extent="10%").reach(2.0) == 0.2
    assert LandscapeOptions(data=DATA, space="weights").reach(255.0) == 1.0
    assert LandscapeOptions(data=DATA, space="weights", extent="0.5").reach(255.0) == 0.5


def test_a_reach_beyond_the_range_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"--extent 2 is 2, more than the range's width 1; give at most"
    ):
        LandscapeOptions(data=DATA, extent="2").reach(1.0)


def test_files_that_are_read() -> None:
    options = LandscapeOptions(data=DATA, space="weights", report=SCAN, proposals=("mvl",))
    assert options.files == [DATA, SCAN]
