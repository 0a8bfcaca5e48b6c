"""From a path to a figure in that file: the endings taken, the library, and a write that leaves no half."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lsa_onnx.errors import DataError
from lsa_onnx.files import write_atomically
from lsa_onnx.report import text
from lsa_onnx.report.figures.style import SETTINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What would make equal figures unequal files, by ending.
_UNDATED: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
    ".svg": {"Creator": None, "Date": None},
}
_ENDINGS = ", ".join(_UNDATED)


def require_drawable(path: str | os.PathLike[str]) -> None:
    """Fail now if a figure could not be drawn to ``path`` later; call it before a long run.

    Whether the file can be written is for ``lsa_onnx.files.check_writable`` to say.

    Raises:
        DataError: The path has another ending than those of pictures, or matplotlib is not installed.
    """
    _ending(path)
    _load_matplotlib()


def require_interactive() -> None:
    """Fail now if a page of surfaces could not be written later; call it before a long run.

    Raises:
        DataError: plotly is not installed.
    """
    plotly_source()


def plotly_source() -> str:
    """The whole of plotly.js, which the page of surfaces holds.

    Raises:
        DataError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise _missing("the page of surfaces", "plotly") from error
    source: str = get_plotlyjs()
    return source


@contextmanager
def drawn_to(path: str | os.PathLike[str]) -> Iterator[Figure]:
    """An empty figure that is written to ``path`` once the block ends without an error.

    Equal figures give equal bytes. An earlier file is replaced only by a complete one.

    Raises:
        DataError: The path has another ending than those of pictures, matplotlib is not installed, or
            the file cannot be written.
    """
    ending = _ending(path)
    content = io.BytesIO()
    with blank_figure() as figure:
        yield figure
        figure.savefig(content, format=ending[1:], metadata=_UNDATED[ending])
    write_atomically(path, content.getvalue())


@contextmanager
def blank_figure() -> Iterator[Figure]:
    """An empty figure in the style of this package; the reader's own settings return after the block.

    Raises:
        DataError: matplotlib is not installed.
    """
    _load_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield Figure(layout="constrained")


def legible(name: str, width: int | None = None) -> str:
    r"""A foreign name as a figure can show it: what acts, or what the font lacks, as an escape.

    Args:
        name: From a file, a path or a caller.
        width: How many characters there is room for; the middle is left out of a longer name.
    """
    known = _characters_of_font()
    shown = "".join(
        c if ord(c) in known else c.encode("unicode_escape").decode("ascii")
        for c in text.visible(name)
    )
    return shown if width is None else text.short_name(shown, width)


def model_names(paths: Sequence[str], titles: Sequence[str] | None = None) -> list[str]:
    """What a figure calls each model: its title where there are some, else the name of its file.

    Where files have the same name, as many folders as tell them apart come with it.

    Raises:
        ValueError: There is another number of titles than of models, a mistake of the caller.
    """
    if titles is not None:
        if len(titles) != len(paths):
            raise ValueError(f"{len(titles)} titles for {len(paths)} models")
        return list(titles)
    parts = [path.replace("\\", "/").strip("/").split("/") for path in paths]
    for depth in range(1, max(map(len, parts), default=0)):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)


@cache
def _characters_of_font() -> frozenset[int]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    path = findfont(FontProperties(family=SETTINGS["font.family"]))
    return frozenset(get_font(path).get_charmap())


def _ending(path: str | os.PathLike[str]) -> str:
    ending = PurePath(path).suffix.lower()
    if ending not in _UNDATED:
        raise DataError(
            f"cannot draw {os.fspath(path)!r}: its ending {ending!r} is none of a picture ({_ENDINGS}); "
            "name a file such as figure.png"
        )
    return ending


def _load_matplotlib() -> None:
    try:
        import matplotlib.figure  # noqa: F401 - whether it is there is all that is asked
    except ImportError as error:
        raise _missing("a figure", "matplotlib") from error


def _missing(thing: str, library: str) -> DataError:
    return DataError(
        f"{thing} needs {library}, which cannot be imported here; install it with: "
        "pip install 'lsa-onnx[plot]'"
    )
