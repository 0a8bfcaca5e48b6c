"""Figures and foreign names as text, the same in every view of a report."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lsa_onnx.report.document import Accuracy, Distribution, ValueDescription

MISSING = "—"

_COMMON_ENDING = "_output_0"

# What attacks call their objectives, in words.
_OBJECTIVES = {
    "ce": "unsaturated cross-entropy",
    "dlr": "logit ratio (DLR)",
    "kl": "KL divergence",
}

# Controls, direction marks, surrogates and line separators: what changes how other text is shown.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    r"""Show what would act on the reader's screen as an escape: ESC becomes ``\x1b``.

    Names come from model files and paths, so they may hold terminal commands, line breaks or marks
    that reverse the direction of the text after them.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSAFE_CATEGORIES else c for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def objective(name: str) -> str:
    """What is maximised, in words where there are some: else foreign text, to be escaped."""
    return _OBJECTIVES.get(name, name)


def shorten(text: str, width: int, measure: Callable[[str], int] = len, ellipsis: str = "…") -> str:
    """Cut the middle out of ``text`` so that it fits: both ends of a tensor's name tell it apart.

    Args:
        text: What to cut.
        width: The room for it, in units of ``measure``; at least that of the ellipsis.
        measure: Gives the width of a text; a terminal shows some characters two columns wide.
        ellipsis: What stands for the part left out.

    Returns:
        ``text`` where it fits, else its start and end with the ellipsis between; the end is the
        longer part, for it says which tensor of a block it is.
    """
    if measure(text) <= width:
        return text
    room = width - measure(ellipsis)
    end = _longest(text[::-1], room - room // 3, measure)[::-1]
    return _longest(text, room - measure(end), measure) + ellipsis + end


def short_name(
    name: str, width: int, measure: Callable[[str], int] = len, ellipsis: str = "…"
) -> str:
    """Cut a tensor's name to ``width``, first the ending that exporters give to every tensor."""
    if measure(name) > width and name.endswith(_COMMON_ENDING):
        name = name.removesuffix(_COMMON_ENDING) + ellipsis
    return shorten(name, width, measure, ellipsis)


def distinct_names(names: Sequence[str], ellipsis: str = "…") -> list[str]:
    """Leave out the path segments that all names begin or end with: they tell nothing apart.

    ``/net/a/Relu`` and ``/net/b/Relu`` become ``…/a/…`` and ``…/b/…``; a single name stays whole.
    """
    parts = [name.split("/") for name in names]
    shortest = min(map(len, parts), default=0) - 1
    if len(names) < 2 or shortest < 1:
        return list(names)
    start = _common(parts, shortest)
    end = _common([part[::-1] for part in parts], shortest - start)
    return [_between(part, start, end, ellipsis) for part in parts]


def _common(parts: Sequence[Sequence[str]], limit: int) -> int:
    """How many leading segments, at most ``limit``, all names share."""
    for count in range(limit):
        if any(part[count] != parts[0][count] for part in parts):
            return count
    return limit


def _between(segments: list[str], start: int, end: int, ellipsis: str) -> str:
    middle = segments[start : len(segments) - end]
    # The empty segment before a leading slash is no loss.
    before = [ellipsis] if any(segments[:start]) else [""] * start
    return "/".join([*before, *middle, *([ellipsis] if end else [])])


def _longest(text: str, width: int, measure: Callable[[str], int]) -> str:
    taken = 0
    for index, character in enumerate(text):
        taken += measure(character)
        if taken > width:
            return text[:index]
    return text


def figure(value: float | None) -> str:
    """A figure in few digits that align in a column: ``0.942``, ``12.30``, ``1.2e-5``."""
    if value is None:
        return MISSING
    size = abs(value)
    if size == 0:
        return "0"
    if size < 5e-4 or size >= 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.3f}" if size < 10 else f"{value:.2f}" if size < 100 else f"{value:.0f}"


def brief(value: float) -> str:
    """A setting as a person would write it: ``0.3``, ``1``, ``0.1307``."""
    return f"{value:.6g}"


def strength(eps: float, bounds: tuple[float, float]) -> str:
    """An eps as people give it: ``8/255`` of the declared range where it is such a share, else a number."""
    steps = 255 * eps / (bounds[1] - bounds[0])
    is_whole = 0 < round(steps) <= 64 and abs(steps - round(steps)) < 1e-6
    return f"{round(steps)}/255" if is_whole else brief(eps)


def share(value: float | None, digits: int = 1) -> str:
    """A share in 0..1 as a percentage."""
    return MISSING if value is None else f"{100 * value:.{digits}f} %"


def interval(distribution: Distribution) -> str:
    """The 95 % interval of the mean, ``low–high``."""
    if distribution.interval is None:
        return MISSING
    low, high = distribution.interval
    return f"{figure(low)}–{figure(high)}"


def accuracy(value: Accuracy | None) -> str:
    """Accuracy with its interval and the number of samples."""
    if value is None:
        return MISSING
    return f"{share(value.value)} (95 % interval {shares(value.interval)}, n = {value.n:,})"


def shares(bounds: tuple[float, float]) -> str:
    """An interval of shares in 0..1, ``94.4–98.6 %``."""
    low, high = bounds
    return f"{100 * low:.1f}–{100 * high:.1f} %"


def size(count: int | None) -> str:
    """A number of bytes in the largest unit that keeps it above one."""
    if count is None:
        return MISSING
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def shape(dimensions: Sequence[int | str | None] | None) -> str:
    """``batch×16×28×28``; a question mark is a free dimension without a name."""
    if dimensions is None:
        return "unknown"
    return "×".join("?" if d is None else visible(str(d)) for d in dimensions) or "scalar"


def described(value: ValueDescription) -> str:
    """A graph input or output on one line."""
    parts = (shape(value.shape), visible(value.dtype), f"batch {value.batch}")
    return f"{visible(value.name)} ({', '.join(parts)})"


def count(number: int, thing: str) -> str:
    """A number of things, ``1 layer`` or ``1,204 layers``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def numbers(values: Iterable[float] | None) -> str:
    """A value per channel, or "none"."""
    return "none" if values is None else ", ".join(map(brief, values))


def parameters(values: dict[str, Any]) -> str:
    """The parameters of a perturbation that are set, ``eps 0.3, steps 20``."""
    given = {name: value for name, value in values.items() if value is not None}
    return ", ".join(f"{visible(name)} {_parameter(value)}" for name, value in given.items())


def _parameter(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return brief(value) if isinstance(value, float) else visible(str(value))


def command_line(arguments: Sequence[str]) -> str:
    """The arguments as one line for a shell."""
    return visible(shlex.join(arguments))
