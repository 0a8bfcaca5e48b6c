"""What an attack maximises, written as ONNX nodes: one number per sample.

Every objective is to be maximised. For classes there are three, all functions of the logits z and
the label y (with j over the other classes):

* ``ce``: L = log Σ_j exp z_j − z_y. The cross-entropy is log(1 + exp L), a strictly increasing
  function of L, so both have the same maximisers and, up to a positive factor per sample, the same
  gradient. But where the model is very sure, cross-entropy and its gradient round to exactly 0 (logits
  of a standard deviation of 2,500 do that to almost every sample), and L does not.
* ``margin``: max_j z_j − z_y (Carlini and Wagner 2017, without its floor).
* ``dlr``: the margin over z_(1) − z_(3), the difference of logits ratio (Croce and Hein 2020, Eq. 6),
  which does not depend on the scale of the logits.

Where one score z tells two classes apart, the logits are 0 and z.

With a target class t, each is replaced by its targeted form. Three more need no label:

* ``kl``: KL(softmax r ‖ softmax z) for reference logits r (Zhang et al. 2019, TRADES);
* ``output`` and ``layer``: Σ ‖φ − r‖² / ‖r‖², the squared comparison measure (Khalooei et al. 2023) of
  outputs, or of one layer, against their clean values r. The square keeps the gradient finite at the
  clean input, where it is 0: start elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lsa_onnx.errors import ModelError
from lsa_onnx.rewrite.reductions import Scored
from lsa_onnx.rewrite.vjp.tape import Tape

Kind = Literal["ce", "margin", "dlr", "kl", "output", "layer"]

CLASS_KINDS = frozenset({"ce", "margin", "dlr"})
_LEAST_CLASSES = {"ce": 2, "margin": 2, "dlr": 3, "targeted dlr": 4}
_TINY = 1e-12
# What no logit is below.
_LOWEST: dict[int, float] = {onnx.TensorProto.FLOAT: -3e38, onnx.TensorProto.DOUBLE: -1e308}


@dataclass(frozen=True)
class Objective:
    """What to maximise.

    Attributes:
        kind: See the module.
        tensors: The tensor of logits; for ``output`` and ``layer``, one or more of any kind. Each says
            which axis counts samples.
        classes: Number of logits, where it is known.
        lowest_wins: The smallest score decides, not the largest.
        targeted: Towards a class given as ``target``, not away from the label.
        binary: The tensor holds one score z per sample, for the logits 0 and z of two classes.

    Raises:
        ModelError: The model has too few classes for it.
    """

    kind: Kind
    tensors: tuple[Scored, ...]
    classes: int | None = None
    lowest_wins: bool = False
    targeted: bool = False
    binary: bool = False

    def __post_init__(self) -> None:
        wanted = "targeted dlr" if self.targeted and self.kind == "dlr" else self.kind
        least = _LEAST_CLASSES.get(wanted, 0)
        if self.classes is not None and self.classes < least:
            raise ModelError(
                f"objective {wanted!r} needs {least} classes or more, and the model has "
                f"{self.classes}; use --objective margin"
                if least > 2
                else f"objective {wanted!r} needs a model with classes, and {self.tensors[0].tensor!r} has "
                f"{self.classes} score per sample; use --objective output"
            )


@dataclass(frozen=True)
class Written:
    """Where the nodes of an objective left what.

    Attributes:
        loss: Tensor of shape (n,), to be maximised.
        margin: Tensor of shape (n,): z_y − max_j z_j, at most 0 where the label is lost (for a
            target t: max_j z_j − z_t, at most 0 where it is reached). ``None`` without classes.
        goals: Name of what a run must be given besides the inputs → the graph input for it:
            ``labels`` or ``target``, shape (n,); ``reference`` (with a number from the second on), the
            rows of a tensor as ``write_rows`` makes them, shape (n, elements).
        inputs: Those graph inputs.
        detached: Tensors that count as constants when adjoints are written.
    """

    loss: str
    margin: str | None
    goals: dict[str, str]
    inputs: list[onnx.ValueInfoProto]
    detached: set[str] = field(default_factory=set)


def write_objective(tape: Tape, objective: Objective) -> Written:
    """Append the nodes of ``objective`` to ``tape``."""
    writer = _Writer(tape, objective)
    if objective.kind in CLASS_KINDS:
        return writer.classes()
    if objective.kind == "kl":
        return writer.divergence()
    return writer.change()


def write_rows(tape: Tape, item: Scored) -> str:
    """Append nodes that bring a tensor into one row per sample, shape (n, elements)."""
    if item.batch_axis is None:
        return tape.op("Reshape", item.tensor, tape.ints(1, -1))
    current = item.tensor
    if item.batch_axis:
        # Whatever the rank: what follows the samples' axis is one axis now.
        flat = tape.ints(*[0] * (item.batch_axis + 1), -1)
        order = [item.batch_axis, *(a for a in range(item.batch_axis + 2) if a != item.batch_axis)]
        current = tape.op("Transpose", tape.op("Reshape", current, flat), perm=order)
    if item.elements:
        return tape.op("Reshape", current, tape.ints(-1, item.elements))
    return tape.op("Flatten", current, axis=1)


class _Writer:
    """The nodes of one objective."""

    def __init__(self, tape: Tape, objective: Objective) -> None:
        self._t = tape
        self._objective = objective
        self._goals: dict[str, str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []

    def classes(self) -> Written:
        t, o = self._t, self._objective
        z = self._logits(write_rows(t, o.tensors[0]))
        if o.lowest_wins:
            z = t.op("Neg", z)
        label = self._goal("target" if o.targeted else "labels", onnx.TensorProto.INT64, 1)
        chosen = t.op("Equal", self._numbered(z), t.op("Unsqueeze", label, t.ints(1)))
        own = self._row_sum(t.op("Where", chosen, z, self._number(0)))
        others = t.op("Where", chosen, self._number(_LOWEST[self._element]), z)
        rival = t.op("ReduceMax", others, t.ints(1), keepdims=0)
        lead = t.op("Sub", rival, own)
        loss, detached = self._class_loss(z, others, own, lead)
        margin = lead if o.targeted else t.op("Neg", lead)
        if o.targeted:
            loss = t.op("Neg", loss)
        return Written(loss, margin, self._goals, self._inputs, detached)

    def _class_loss(self, z: str, others: str, own: str, lead: str) -> tuple[str, set[str]]:
        """The untargeted form: larger means further from the label (or target)."""
        t, o = self._t, self._objective
        if o.kind == "ce":
            top = t.op("ReduceMax", others, t.ints(1), keepdims=1)
            total = self._row_sum(t.op("Exp", t.op("Sub", others, top)))
            flat = t.op("Reshape", top, t.ints(-1))
            # Its gradient cancels: as a constant it costs nothing and rounds nothing.
            return t.op("Sub", t.op("Add", t.op("Log", total), flat), own), {top}
        if o.kind == "margin":
            return lead, set()
        largest = t.ops("TopK", z, t.ints(4 if o.targeted else 3), outputs=2, axis=1)[0]
        first, third = (self._column(largest, i) for i in (0, 2))
        if o.targeted:
            fourth = self._column(largest, 3)
            third = t.op("Mul", t.op("Add", third, fourth), self._number(0.5))
        width = t.op("Add", t.op("Sub", first, third), self._number(_TINY))
        return t.op("Div", lead, width), set()

    def _numbered(self, z: str) -> str:
        """0, 1, … below the number of classes."""
        t = self._t
        one = numpy_helper.from_array(np.ones(1, np.int64))
        ones = t.op("ConstantOfShape", t.op("Shape", z, start=1, end=2), value=one)
        # Range would say the same, but its length is lost on shape inference.
        return t.op("CumSum", ones, t.constant(0, np.int64), exclusive=1)

    def divergence(self) -> Written:
        t, item = self._t, self._objective.tensors[0]
        z = self._logits(write_rows(t, item))
        reference = self._logits(self._goal("reference", t.element(item.tensor), 2))
        if self._objective.lowest_wins:
            z, reference = t.op("Neg", z), t.op("Neg", reference)
        log_p, log_q = (t.op("LogSoftmax", value, axis=-1) for value in (reference, z))
        parts = t.op("Mul", t.op("Exp", log_p), t.op("Sub", log_p, log_q))
        return Written(self._row_sum(parts), None, self._goals, self._inputs)

    def change(self) -> Written:
        t = self._t
        losses = []
        for index, item in enumerate(self._objective.tensors):
            name = f"reference {index}" if index else "reference"
            reference = self._goal(name, t.element(item.tensor), 2)
            clean, now = (self._wide(value) for value in (reference, write_rows(t, item)))
            # Inference cannot know that the two have one shape.
            clean = t.op("Reshape", clean, t.op("Shape", now))
            moved = t.op("Sub", now, clean)
            size = self._row_sum(t.op("Mul", clean, clean))
            # A clean value of 0 has no relative change: the absolute one is taken.
            unit = t.op("Where", t.op("Greater", size, self._number(0)), size, self._number(1))
            losses.append(t.op("Div", self._row_sum(t.op("Mul", moved, moved)), unit))
        return Written(t.sum(losses), None, self._goals, self._inputs)

    def _goal(self, name: str, element: int, rank: int) -> str:
        value = self._t.names.fresh(name.replace(" ", "_"))
        self._goals[name] = value
        self._inputs.append(helper.make_tensor_value_info(value, element, [None] * rank))
        return value

    @property
    def _elements(self) -> set[int | None]:
        return {self._t.known.element(item.tensor) for item in self._objective.tensors}

    @property
    def _element(self) -> int:
        """The type in which objectives are computed: double if a tensor is, else single precision.

        In half precision sums of squares overflow, small differences of losses are rounded away, and
        no number is small enough to keep a quotient from 0 / 0 without changing it.
        """
        double = onnx.TensorProto.DOUBLE
        return double if double in self._elements else onnx.TensorProto.FLOAT

    def _wide(self, rows: str) -> str:
        """Rows of one of the tensors, or a reference for them, in the type of the objective."""
        same = self._elements == {self._element}
        return rows if same else self._t.op("Cast", rows, to=self._element)

    def _logits(self, rows: str) -> str:
        """One column per class, in the type of the objective."""
        z = self._wide(rows)
        return self._t.op("Pad", z, self._t.ints(0, 1, 0, 0)) if self._objective.binary else z

    def _number(self, value: float) -> str:
        return self._t.constant(value, helper.tensor_dtype_to_np_dtype(self._element))

    def _row_sum(self, rows: str) -> str:
        return self._t.op("ReduceSum", rows, self._t.ints(1), keepdims=0)

    def _column(self, rows: str, index: int) -> str:
        return self._t.op("Gather", rows, self._t.constant(index, np.int64), axis=1)
