"""Which layers of a report a user means by a name."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Sequence

from lsa_onnx.errors import DataError
from lsa_onnx.report.document import LayerInfo

_WILDCARD = re.compile(r"[*?]")
_SEGMENTS = re.compile(r"[/.]")
_SHOWN = 5


def find_layers(name: str, layers: Sequence[LayerInfo], asker: str) -> list[LayerInfo]:
    """The layers that ``name`` stands for: one, or with a wildcard at least one.

    Tried in this order: the name of the tensor; that of its node; its number in the report; a wildcard
    (``*``, ``?``) on either name; the end of a name, or whole segments of it between slashes and dots.

    Args:
        name: As the user wrote it.
        layers: Those of the report, in its order.
        asker: What the name is part of, for messages.

    Raises:
        DataError: There is none, or without a wildcard more than one.
    """
    for choose in (_by_tensor, _by_node, _by_number, _by_wildcard, _by_part):
        found = choose(name, layers)
        if len(found) > 1 and choose is not _by_wildcard:
            raise DataError(
                f"{asker}: layer {name!r} may be any of {_listed([each.tensor for each in found])}; give "
                "more of the name, or a wildcard to take them all"
            )
        if found:
            return found
    raise DataError(f"{asker}: {_nothing(name, layers)}")


def _by_tensor(name: str, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    return [each for each in layers if each.tensor == name]


def _by_node(name: str, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    return [each for each in layers if name == each.node or name in each.learnable]


def _by_number(name: str, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    digits = name.isascii() and name.isdigit()
    return [layers[int(name)]] if digits and int(name) < len(layers) else []


def _by_wildcard(name: str, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    if not _WILDCARD.search(name):
        return []
    # Brackets are common in names of tensors, and no wildcard here.
    pattern = name.replace("[", "[[]")
    return [each for each in layers if any(fnmatch.fnmatchcase(n, pattern) for n in _names(each))]


def _by_part(name: str, layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    return [each for each in layers if any(_is_part(name, whole) for whole in _names(each))]


def _is_part(name: str, whole: str) -> bool:
    if whole.endswith(name):
        return True
    wanted, segments = _SEGMENTS.split(name.strip("/.")), _SEGMENTS.split(whole)
    starts = range(len(segments) - len(wanted) + 1)
    return any(segments[start : start + len(wanted)] == wanted for start in starts)


def _names(layer: LayerInfo) -> tuple[str, ...]:
    return (layer.tensor, layer.node, *layer.learnable)


def _nothing(name: str, layers: Sequence[LayerInfo]) -> str:
    names = list(dict.fromkeys(each for layer in layers for each in _names(layer)))
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {_listed(near, ' or ')}? " if near else ""
    if not layers:
        return f"no layer was scored, so there is no {name!r}; give a gate without a layer"
    return (
        f"there is no layer {name!r}; {hint}accepted are names of tensors and nodes, parts of them, "
        f"wildcards, and numbers from 0 to {len(layers) - 1}"
    )


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return between.join(map(repr, names[:_SHOWN])) + more
