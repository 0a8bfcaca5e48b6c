"""``{public} MODULE``: the reference of every name in a module's ``__all__``, from the docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pydoc import locate
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from types import ModuleType

    from sphinx import addnodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


class Public(SphinxDirective):
    """What autodoc's own ``automodule`` cannot do: names that a package loads when they are first used.

    Its content names more classes, in full: those of which the module's own are made.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The module's docstring and its names: classes and functions first, in the order of ``__all__``."""
        name = self.arguments[0]
        module = import_module(name)
        names = getattr(module, "__all__", None) or _own_classes(name, module)
        names = sorted(names, key=lambda each: not callable(getattr(module, each)))
        lines = [f".. py:module:: {name}", "", *(inspect.getdoc(module) or "").splitlines(), ""]
        for full in [*(f"{name}.{each}" for each in names), *self.content]:
            lines += self._once(full)
        text = StringList(["```{eval-rst}", *lines, "```"], source=f"reference of {name}")
        found = nodes.Element()
        self.state.nested_parse(text, self.content_offset, found)
        children: list[nodes.Node] = found.children
        return children

    def _once(self, full: str) -> list[str]:
        """The directive for a name, or a link if a package above has it as well."""
        module, _, name = full.rpartition(".")
        value = getattr(import_module(module), name)
        first = str(self.env.temp_data.setdefault(f"public {id(value)}", full))
        # Small values, such as strings, may be one object under two names.
        if first != full and callable(value):
            return [f"``{name}`` is :py:obj:`{first}`.", ""]
        return list(_directive(full, value))


def _own_classes(name: str, module: ModuleType) -> list[str]:
    return [
        key for key, value in vars(module).items() if getattr(value, "__module__", None) == name
    ]


def _directive(full: str, value: object) -> Iterator[str]:
    if inspect.isclass(value):
        yield from (f".. autoclass:: {full}", "   :members:", "")
    elif inspect.isroutine(value):
        yield from (f".. autofunction:: {full}", "")
    else:
        # A value's docstring would be that of its type.
        yield from (
            f".. py:data:: {full.rpartition('.')[2]}",
            f"   :type: {type(value).__name__}",
            "",
        )


def _unlinked(
    _app: Sphinx, _env: BuildEnvironment, reference: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.TextElement | None:
    """A class that there is and that has no entry is shown without a link; what is not there stays an error."""
    target = reference.get("reftarget", "")
    ours = reference.get("refdomain") == "py" and target.startswith("lsa_")
    return shown if ours and locate(target) is not None else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("public", Public)
    app.connect("missing-reference", _unlinked)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
