"""The untouched model file, run as it would be deployed: what accuracy and success are judged on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lsa_onnx.prediction import Head, predicted_classes
from lsa_onnx.runtime.devices import Device
from lsa_onnx.runtime.layout import padded
from lsa_onnx.runtime.session import Session, SessionPlan
from lsa_onnx.scanning.rows import join_rows

if TYPE_CHECKING:
    from lsa_onnx.scanning.subject import Subject

Array = NDArray[Any]


class Deployed:
    """Runs the model file itself; where an inner tensor is perturbed, what comes behind it, as deployed."""

    def __init__(
        self, subject: Subject, head: Head | None, device: Device, *, one_by_one: bool
    ) -> None:
        """Open it.

        Args:
            subject: Model and data.
            head: How a class is read, ``None`` for models without.
            device: Where to run.
            one_by_one: A run's whole output belongs to one sample (native mode).
        """
        self._subject = subject
        self._head = head
        self._one_by_one = one_by_one
        if subject.promotion is None:
            self._session = Session(
                subject.model.path, device, plan=SessionPlan(prepack=not subject.model.is_large)
            )
        else:
            self._session = Session(subject.model.proto, device, subject.model.folder)

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """All outputs, each of shape (n, ...), at the batch that the file allows.

        Args:
            feeds: Input name → samples, shape (n, ...), in units of the declared range.
        """
        subject, layout = self._subject, self._subject.layout
        deployed = subject.as_deployed(feeds)
        count = len(feeds[subject.input.name])
        size = count if layout.free and not self._one_by_one else layout.leading or 1
        pieces = []
        for start in range(0, count, size):
            rows = {name: x[start : start + size] for name, x in deployed.items()}
            real = len(next(iter(rows.values())))
            fed = {n: layout.feed(padded(x, size)) for n, x in rows.items()}
            run = self._session.run({**fed, **subject.whole}, list(subject.outputs))
            pieces.append({n: v[None] if self._one_by_one else v[:real] for n, v in run.items()})
        return {name: join_rows([piece[name] for piece in pieces]) for name in subject.outputs}

    def classes(self, feeds: dict[str, Array]) -> NDArray[np.int64] | None:
        """The predicted class of each sample, shape (n,); ``None`` for a model without classes."""
        return predicted_classes(self._head, self.run(feeds)) if self._head else None
