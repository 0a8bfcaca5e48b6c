"""Paths, libraries and bytes: what every figure has in common."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest

from lsa_onnx.errors import DataError
from lsa_onnx.report.figures import drawing, require_drawable, require_interactive
from lsa_onnx.report.figures.style import DASHES, MARKS, SERIES, stroke
from tests.report.examples import HOSTILE_NAMES


@pytest.mark.parametrize("path", ["x.png", "x.SVG", "folder/x.pdf"])
def test_pictures_can_be_drawn(path: str) -> None:
    require_drawable(path)
    require_drawable(Path(path))


@pytest.mark.parametrize("path", ["x.jpg", "x", "-", "", "png", "x.png/", "x.png.gz"])
def test_other_endings_are_refused(path: str) -> None:
    if path.endswith("/"):
        require_drawable(path)  # what is a folder is for check_writable to say
        return
    with pytest.raises(DataError, match=rf"cannot draw '{re.escape(path)}': .*\.pdf, \.png, \.svg"):
        require_drawable(path)
    with (
        pytest.raises(DataError, match=r"name a file such as figure\.png"),
        drawing.drawn_to(path),
    ):
        pass


@pytest.mark.parametrize("library", ["matplotlib", "plotly"])
def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    for name in ("matplotlib.figure", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        DataError, match=rf"needs {library}.*pip install 'lsa-onnx\[plot\]'"
    ) as told:
        require_drawable("x.png") if library == "matplotlib" else require_interactive()
    assert "\n" not in str(told.value)
    assert told.value.exit_code == 2


def test_the_ending_is_looked_at_before_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DataError, match=r"'x\.bmp'"):
        require_drawable("x.bmp")


def test_importing_the_package_loads_neither_library() -> None:
    code = (
        "import sys, lsa_onnx.report.figures\n"
        "print(*{'matplotlib', 'plotly', 'numpy', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("ending", "start"),
    [
        ("svg", b"<?xml"),
        pytest.param("png", b"\x89PNG", marks=pytest.mark.slow, id="png"),
        pytest.param("pdf", b"%PDF", marks=pytest.mark.slow, id="pdf"),
    ],
)
def test_equal_figures_are_equal_bytes(tmp_path: Path, ending: str, start: bytes) -> None:
    for name in ("one", "two"):
        with drawing.drawn_to(tmp_path / f"{name}.{ending}") as figure:
            figure.set_size_inches(2, 1)
            figure.subplots().fill_between([0, 1, 2], [0, 1, 0], [1, 2, 1], label="$x")
    one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
    assert one.startswith(start)
    assert one == two
    assert not re.search(rb"matplotlib v?\d|20\d\d-\d\d-\d\d|CreationDate", one, re.IGNORECASE)


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), drawing.drawn_to(path):
        _ = 1 / 0
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("x.png", b"before")]
    missing = tmp_path / "missing/x.png"
    with (
        pytest.raises(DataError, match=r"missing/x\.png.*folder does not exist"),
        drawing.drawn_to(missing),
    ):
        pass


def test_the_readers_settings_return() -> None:
    with mpl.rc_context({"font.size": 31.0, "axes.facecolor": "red"}):
        with drawing.blank_figure() as figure:
            assert figure.subplots().get_facecolor() == (1, 1, 1, 1)
            assert mpl.rcParams["font.size"] < 10
        assert mpl.rcParams["font.size"] == 31
        assert mpl.rcParams["axes.facecolor"] == "red"


@pytest.mark.slow
def test_pyplot_is_never_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lsa_onnx.report.figures.drawing import drawn_to\n"
        f"with drawn_to({str(tmp_path / 'x.svg')!r}) as figure: figure.subplots()\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "$\\frac{", "_hidden", "名前", "\ud800"])
def test_every_name_can_be_drawn(name: str) -> None:
    shown = drawing.legible(name, 40)
    assert len(shown) <= 40
    assert shown.isprintable()
    with drawing.blank_figure() as figure:
        figure.text(0, 0, shown)
        figure.draw_without_rendering()  # a warning about a missing letter would be an error


def test_what_the_font_lacks_is_an_escape() -> None:
    assert drawing.legible("名/φ") == "\\u540d/φ"
    assert drawing.legible("a\x1b[31m") == "a\\x1b[31m"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["/models/m.onnx"], ["m.onnx"]),
        (["before/m.onnx", "after/m.onnx"], ["before/m.onnx", "after/m.onnx"]),
        (["x/before/m.onnx", "y/before/m.onnx", "z/n.onnx"],
         ["x/before/m.onnx", "y/before/m.onnx", "z/n.onnx"]),
        (["x\\a\\m.onnx", "x\\b\\m.onnx"], ["a/m.onnx", "b/m.onnx"]),
        (["m.onnx", "m.onnx"], ["m.onnx", "m.onnx"]),
    ],
)  # fmt: skip
def test_models_are_called_by_what_tells_them_apart(paths: list[str], names: list[str]) -> None:
    assert drawing.model_names(paths) == names


def test_titles_take_the_place_of_names() -> None:
    assert drawing.model_names(["m.onnx"], ["before"]) == ["before"]
    with pytest.raises(ValueError, match="1 titles for 2 models"):
        drawing.model_names(["a", "b"], ["one"])


def test_lines_look_different_for_longer_than_there_are_colours() -> None:
    looks = {tuple(map(str, stroke(line).values())) for line in range(len(SERIES) * len(DASHES))}
    assert len(looks) == len(SERIES) * len(DASHES)
    assert len(SERIES) == len(MARKS)
    assert stroke(2, 1)["color"] == SERIES[2]
    assert stroke(2, 1)["marker"] == MARKS[1]
