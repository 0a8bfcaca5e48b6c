"""What a layer selector picks."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lsa_onnx.errors import DataError
from lsa_onnx.layers.points import reading_point
from lsa_onnx.rewrite.graph import main_output

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.layers.scopes import Scope

SETS = ("activations", "learnable", "all")


class Selection:
    """The candidate tensors and what selectors pick among them, by their names in the report."""

    def __init__(self, scopes: Sequence[Scope]) -> None:
        self._scopes = scopes
        self._heads: set[str] = set()
        self.chosen: dict[str, list[str]] = {}

    def take(self, selectors: Iterable[str]) -> None:
        """Add what ``selectors`` pick to ``chosen``: tensor → the learnable nodes it stands for.

        Raises:
            DataError: A selector is malformed, or matches nothing.
        """
        for selector in self._split(selectors):
            for tensor, learnable in self._matching(selector).items():
                names = self.chosen.setdefault(tensor, [])
                names += [name for name in learnable if name not in names]

    def why_not(self, scope: Scope, tensor: str) -> str | None:
        """Why ``tensor``, made in ``scope``, is not scored; ``None`` if it is."""
        obstacle = scope.obstacles.reason(tensor)
        if obstacle or scope.names[tensor] in self.chosen:
            return obstacle
        if scope.names[tensor] in self._heads:
            return "output head: no hidden representation follows it"
        return "not chosen by --layers"

    def _matching(self, selector: str) -> dict[str, list[str]]:
        if selector == "activations":
            return self._points() or self._learnable()
        if selector == "learnable":
            return self._learnable()
        if selector == "all":
            return {s.names[t]: [] for s, t in self._made() if not s.obstacles.reason(t)}
        found = [pair for pair in self._made() if _picks(selector, *pair)]
        if not found:
            raise DataError(self._nothing(selector))
        usable = [(scope, tensor) for scope, tensor in found if not scope.obstacles.reason(tensor)]
        if not usable:
            scope, tensor = found[0]
            raise DataError(
                f"--layers {selector!r} matches only {scope.names[tensor]!r}, which is not scored: "
                f"{scope.obstacles.reason(tensor)}; `lsa-onnx layers MODEL` lists what can be scored"
            )
        return {scope.names[tensor]: [] for scope, tensor in usable}

    def _made(self) -> Iterator[tuple[Scope, str]]:
        return ((scope, tensor) for scope in self._scopes for tensor in scope.view.made)

    def _learnable_nodes(self) -> Iterator[tuple[Scope, onnx.NodeProto]]:
        for scope in self._scopes:
            for node in filter(scope.view.is_learnable, scope.view.graph.node):
                yield scope, node

    def _points(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for scope, node in self._learnable_nodes():
            point = reading_point(scope.view, node)
            name = scope.names[point.tensor]
            if point.head:
                self._heads.add(name)
            elif not scope.obstacles.reason(point.tensor):
                found.setdefault(name, []).append(scope.view.name(node))
        return found

    def _learnable(self) -> dict[str, list[str]]:
        made = (
            (scope, scope.obstacles.stand_in(main_output(node)), node)
            for scope, node in self._learnable_nodes()
        )
        return {
            scope.names[tensor]: [scope.view.name(node)]
            for scope, tensor, node in made
            if not scope.obstacles.reason(tensor)
        }

    def _nothing(self, selector: str) -> str:
        near = difflib.get_close_matches(selector, self._known(), n=3)
        hint = f" (did you mean {', '.join(map(repr, near))}?)" if near else ""
        return (
            f"--layers {selector!r} matches no tensor or node{hint}; accepted are "
            f"{', '.join(SETS)}, op:TYPE, re:REGEX and names with wildcards; "
            "`lsa-onnx layers MODEL` lists the names"
        )

    def _known(self) -> dict[str, None]:
        """The names of all tensors and nodes, in order."""
        tensors = (scope.names[tensor] for scope, tensor in self._made())
        nodes = (name for scope in self._scopes for name in scope.view.by_name)
        return dict.fromkeys([*tensors, *nodes])

    def _split(self, selectors: Iterable[str]) -> list[str]:
        """Comma-separated lists taken apart, except where all of it is a name or a regular expression."""
        names = self._known()
        parts: list[str] = []
        for text in selectors:
            whole = text in names or text.startswith("re:")
            parts += [text] if whole else [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise DataError(f"--layers is empty; give one of {', '.join(SETS)}, or a filter")
        return parts


def _picks(selector: str, scope: Scope, tensor: str) -> bool:
    node = scope.view.made[tensor]
    if selector.startswith("op:"):
        return fnmatch.fnmatchcase(node.op_type, selector[3:])
    names = (tensor, scope.names[tensor], scope.view.name(node))
    if selector.startswith("re:"):
        return any(_compiled(selector[3:]).search(name) for name in names)
    return selector in names or any(fnmatch.fnmatchcase(name, selector) for name in names)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DataError(f"--layers 're:{pattern}' is not a regular expression: {error}") from None
