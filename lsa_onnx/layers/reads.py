"""The chosen layers as float tensors of the main graph, which is all that scoring knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.layers.operators import FLOAT_ELEMENTS
from lsa_onnx.rewrite.carry_out import CarriedOut, carry_out
from lsa_onnx.rewrite.readings import Reading, add_readings

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.layers.plan import LayerPlan
    from lsa_onnx.layers.survey import Survey


@dataclass(frozen=True)
class Read:
    """Where the numbers of a layer are.

    Attributes:
        tensor: A float tensor of the main graph.
        element: Its ONNX element type.
        executions: Whether its first axis counts how often the layer's body ran.
        uneven: Whether the values of the input decide how often that is.
    """

    tensor: str
    element: int
    executions: bool = False
    uneven: bool = False


@dataclass(frozen=True)
class Readable:
    """A model that has every chosen layer as a float tensor of its main graph.

    ``reads`` maps layers, by their names in the report, to those tensors.
    """

    model: onnx.ModelProto
    reads: dict[str, Read]


def make_readable(model: onnx.ModelProto, survey: Survey, plan: LayerPlan) -> Readable:
    """Bring the layers of ``plan`` to the main graph, and make floats of them.

    Args:
        model: The surveyed model, or one that was made of it and has all of its tensors.
        survey: What is known of its tensors.
        plan: The layers; one that cannot be carried out of a body of ``model`` is not read.
    """
    wanted: dict[str, list[str]] = {}
    for source in plan.sources.values():
        if source.body is not None:
            wanted.setdefault(source.body, []).append(source.tensor)
    carried = carry_out(model, wanted) if wanted else CarriedOut(model, {}, {})
    places = {
        name: carried.names.get((source.body, source.tensor)) if source.body else source.tensor
        for name, source in plan.sources.items()
    }
    found = {name: survey.readings.of(place) for name, place in places.items() if place}
    readings = {name: each for name, each in found.items() if isinstance(each, Reading)}
    uneven = {i.body.path for i in survey.inside if i.body.executed_by_values}
    reads = {
        name: Read(
            each.result,
            FLOAT_ELEMENTS[each.dtype],
            executions=plan.sources[name].body is not None,
            uneven=plan.sources[name].body in uneven,
        )
        for name, each in readings.items()
    }
    nodes = [each for each in readings.values() if each.nodes]
    return Readable(add_readings(carried.model, nodes) if nodes else carried.model, reads)
