"""What is known of every tensor of a model, in bodies too, before any of them is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lsa_onnx.layers.obstacles import Types
from lsa_onnx.rewrite.readings import Readings

if TYPE_CHECKING:
    import onnx

    from lsa_onnx.rewrite.bodies import Body


@dataclass(frozen=True)
class Inside:
    """The tensors that a body makes.

    Attributes:
        body: The body.
        types: Element type and shape of its tensors, of one execution.
        carried: Tensor → the name under which ``rewrite.carry_out`` brings it to the main graph,
            an axis of executions in front.
        refused: Tensor → why it cannot be carried out.
    """

    body: Body
    types: Types
    carried: Mapping[str, str]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Survey:
    """A model with what the runtime knows of its tensors.

    Attributes:
        model: The model.
        types: Element type and shape of the tensors of the main graph.
        readings: How tensors that are not plain floats are read; it knows carried tensors by the
            names they get.
        inside: What is in its bodies, outermost first.
    """

    model: onnx.ModelProto
    types: Types
    readings: Readings
    inside: tuple[Inside, ...] = ()

    @classmethod
    def of_graph(cls, model: onnx.ModelProto, types: Types) -> Survey:
        """Of a model without bodies."""
        return cls(model, types, Readings(model, types))
