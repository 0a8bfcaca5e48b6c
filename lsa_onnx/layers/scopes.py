"""The graphs of a model, bodies included, with a name in the report for every tensor they make."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from lsa_onnx.layers.graph_view import GraphView
from lsa_onnx.layers.obstacles import Obstacles, Types
from lsa_onnx.layers.survey import Inside, Survey
from lsa_onnx.rewrite.graph import dimensions, node_key, opset, true_inputs


@dataclass
class Scope:
    """The main graph or a body.

    Attributes:
        view: Its graph.
        types: Element type and shape of its tensors.
        obstacles: Why tensors cannot be scored.
        inside: What was found out about the body, ``None`` for the main graph.
        names: Tensor made here → what the report calls it.
        children: The bodies in it, by ``node_key`` of the node that carries them.
    """

    view: GraphView
    types: Types
    obstacles: Obstacles
    inside: Inside | None = None
    names: dict[str, str] = field(default_factory=dict)
    children: dict[str, list[Scope]] = field(default_factory=dict)


def scopes(survey: Survey) -> list[Scope]:
    """The main graph, then its bodies, outermost first."""
    view = GraphView.of(survey.model)
    shapes = [dimensions(value) for value in true_inputs(survey.model.graph)]
    batches = {shape[0] for shape in shapes if shape}
    version = opset(survey.model)
    main = Scope(view, survey.types, Obstacles(view, survey.types, survey.readings, batches))
    by_path: dict[str | None, Scope] = {None: main}
    for inside in survey.inside:
        body = inside.body
        outer = by_path[body.outer]
        inner = outer.view.inside(body)
        obstacles = Obstacles(
            inner,
            inside.types,
            survey.readings,
            batches,
            inside=inside,
            outer=outer.obstacles,
            version=version,
        )
        by_path[body.path] = Scope(inner, inside.types, obstacles, inside)
        outer.children.setdefault(node_key(body.node), []).append(by_path[body.path])
    found = list(by_path.values())
    _name(found)
    return found


def _name(found: list[Scope]) -> None:
    """Tensors keep their own name; one that several graphs use gets its body's path in front."""
    uses = Counter(tensor for scope in found for tensor in scope.view.made)
    taken = set(uses)
    for scope in found:
        for tensor in scope.view.made:
            name = tensor
            if scope.view.path is not None and uses[tensor] > 1:
                name = f"{scope.view.path}/{tensor}"
                while name in taken:
                    name += "_"
                taken.add(name)
            scope.names[tensor] = name
