"""What the user is told before training: what trains, what is regularised, what to watch out for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lsa_onnx.scanning import Listener
from lsa_trainer.hardening.choosing import Chosen
from lsa_trainer.hardening.prepare import Prepared
from lsa_trainer.options import HardenOptions
from lsa_trainer.weights import Constants

if TYPE_CHECKING:
    import onnx

_SHOWN = 12
# A network of fewer convolutions may well have been made without BatchNormalization.
_MANY_CONVOLUTIONS = 8


def announce(
    listener: Listener, prepared: Prepared, chosen: Chosen, options: HardenOptions
) -> None:
    """Tell it."""
    for line in facts(prepared, chosen, options):
        listener.message(line)


def facts(prepared: Prepared, chosen: Chosen, options: HardenOptions) -> Iterator[str]:
    """One line each."""
    yield from weight_lines(prepared.module.constants)
    yield batch_norm_line(prepared.subject.model.proto, options.batch_norm)
    layers = ", ".join(chosen.layers) or "none"
    yield f"regularised layers: {layers} ({chosen.origin})"
    if prepared.taught:
        yield "no labels: the model's own clean predictions teach"
    if not prepared.module.batch_is_free:
        yield "the model runs one sample at a time: training is slow"
    sizes = (len(prepared.material.training), len(prepared.material.validation))
    held = len(prepared.verification)
    yield f"{sizes[0]:,} samples train, {sizes[1]:,} validate, {held:,} are kept for the verdict"


def weight_lines(constants: Constants) -> Iterator[str]:
    """What trains, by layer, and what does not."""
    total = sum(w.elements for w in constants.weights)
    yield f"trains {constants.trainable:,} of {total:,} weights ({constants.share:.0%}):"
    training = [w for w in constants.weights if w.trains]
    for weight in training[:_SHOWN]:
        shape = "×".join(map(str, weight.shape)) or "1"
        yield f"  {weight.name}  {shape}  → {weight.layer}"
    if len(training) > _SHOWN:
        rest = sum(w.elements for w in training[_SHOWN:])
        yield f"  and {len(training) - _SHOWN} more tensors of {rest:,} weights"
    for weight in [w for w in constants.weights if not w.trains][:_SHOWN]:
        yield f"  frozen: {weight.name} ({weight.frozen})"


def batch_norm_line(model: onnx.ModelProto, policy: str) -> str:
    """How the model normalises batches."""
    kinds = [node.op_type for node in model.graph.node]
    count = kinds.count("BatchNormalization")
    if count:
        return f"BatchNormalization: {count} nodes, statistics {policy}"
    if kinds.count("Conv") >= _MANY_CONVOLUTIONS:
        return (
            "BatchNormalization: none, probably folded into the convolutions; training has no "
            "normalisation to steady it, so keep --lr small and --clip on"
        )
    return "BatchNormalization: none"
