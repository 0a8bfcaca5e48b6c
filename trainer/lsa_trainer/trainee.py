"""What a training run sees of a model: inputs in declared units in, named tensors out."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from lsa_onnx.errors import ModelError
from lsa_trainer.module import OnnxModule
from lsa_trainer.ops.training import BatchNormalization

BATCH_NORM_LAYERS = (
    torch.nn.BatchNorm1d,
    torch.nn.BatchNorm2d,
    torch.nn.BatchNorm3d,
    torch.nn.SyncBatchNorm,
)


class Trainee(torch.nn.Module, abc.ABC):
    """A model as training calls it: ``(x, *held) → {name: tensor}``.

    Attributes:
        module: The model; it gives the named tensors when called with its inputs in order.
    """

    module: torch.nn.Module
    # Of the layers that normalise batches.
    _kinds: ClassVar[tuple[Any, ...]] = (BatchNormalization,)

    @abc.abstractmethod
    def reading(self, tensors: Iterable[str]) -> Trainee:
        """One that shares every weight with this and returns ``tensors``."""

    @contextlib.contextmanager
    def batch_statistics(self, active: bool) -> Iterator[None]:
        """Whether BatchNormalization uses and updates the statistics of the batch inside the block."""
        for layer in self._normalisations:
            layer.use_batch_statistics = active
        try:
            yield
        finally:
            for layer in self._normalisations:
                layer.use_batch_statistics = False

    @cached_property
    def _normalisations(self) -> list[Any]:
        """The layers that may use them: found once, for every pass asks."""
        return [m for m in self.modules() if isinstance(m, self._kinds)]


def two_columns(name: str, z: Tensor, samples: int) -> Tensor:
    """The logits 0 and z of two classes, shape (n, 2), of one score z per sample.

    As a layer they have the Frobenius norm of z, and so its comparison measure. Every objective for
    classes may take them: softmax of (0, z) is the sigmoid of z.

    Args:
        name: Of the tensor, for the message.
        z: The scores, shape (n, 1) or (n,).
        samples: How many there are, n.

    Raises:
        ModelError: They are not one for each sample.
    """
    if z.numel() != samples:
        raise ModelError(
            f"{name!r} has shape {tuple(z.shape)} for {samples} samples, and two classes are told apart by one "
            "score for each, shape (n, 1) or (n,); without binary, it is one score per class"
        )
    return functional.pad(z.reshape(samples, 1), (1, 0))


class OnnxTrainee(Trainee):
    """An ``OnnxModule`` behind the normalisation that its input expects."""

    def __init__(
        self,
        source: OnnxModule,
        tensors: Sequence[str],
        inputs: Sequence[str],
        *,
        scale: Tensor | None = None,
        offset: Tensor | None = None,
        one_by_one: bool = False,
        single: str | None = None,
    ) -> None:
        """Make it.

        Args:
            source: The model.
            tensors: What to return.
            inputs: Names of the inputs in the order in which they are given, that which is attacked first.
            scale: model input = x · scale + offset, shaped to broadcast against a batch; ``None`` for x.
            offset: Likewise.
            one_by_one: Run each sample on its own: the batch is part of the model.
            single: The tensor that holds one score per sample for two classes; see ``two_columns``.
        """
        super().__init__()
        # In a tuple, so that weights that are not read are no part of this module.
        self._source = (source,)
        self.module = source.reading(tensors)
        self._tensors = tuple(tensors)
        self._inputs = tuple(inputs)
        self._order = [list(inputs).index(name) for name in source.input_names]
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.one_by_one = one_by_one
        self._single = single

    def reading(self, tensors: Iterable[str]) -> OnnxTrainee:
        """See ``Trainee.reading``."""
        other = OnnxTrainee(
            self._source[0],
            tuple(tensors),
            self._inputs,
            scale=self.scale,
            offset=self.offset,
            one_by_one=self.one_by_one,
            single=self._single,
        )
        other.train(self.training)
        return other

    def forward(self, x: Tensor, *held: Tensor) -> dict[str, Tensor]:
        """The tensors.

        Args:
            x: The attacked input in units of the declared range, shape (n, ...).
            held: The other inputs, shape (n, ...) each.
        """
        if self.scale is not None:
            x = (x * self.scale + self.offset).to(x.dtype)
        given = (x, *held)
        ordered = [given[place] for place in self._order]
        if not self.one_by_one or len(x) == 1:
            return self._found(ordered)
        rows = [self._found([each[i : i + 1] for each in ordered]) for i in range(len(x))]
        return {name: torch.cat([row[name] for row in rows]) for name in self._tensors}

    def _found(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """The tensors in one run of the model."""
        found: dict[str, Tensor] = self.module(*inputs)
        if self._single in found:
            found = {
                **found,
                self._single: two_columns(self._single, found[self._single], len(inputs[0])),
            }
        return found


class SourceTrainee(Trainee):
    """A module with its source: layers are its submodules, by their names.

    Attributes:
        output: The name under which the module's own result is returned.
    """

    output = "output"
    _kinds = BATCH_NORM_LAYERS

    def __init__(
        self, module: torch.nn.Module, tensors: Sequence[str], *, binary: bool = False
    ) -> None:
        """Make it.

        Args:
            module: Gives logits, shape (n, classes), for inputs of shape (n, ...).
            tensors: ``output``, and names of submodules whose results are returned.
            binary: The module gives one logit per sample instead; ``output`` is its ``two_columns``.
        """
        super().__init__()
        self.module = module
        self._tensors = tuple(tensors)
        self._binary = binary

    @property
    def tensors(self) -> tuple[str, ...]:
        """The names of what is returned."""
        return self._tensors

    def reading(self, tensors: Iterable[str]) -> SourceTrainee:
        """See ``Trainee.reading``."""
        return SourceTrainee(self.module, tuple(tensors), binary=self._binary)

    def forward(self, x: Tensor, *held: Tensor) -> dict[str, Tensor]:
        """See ``OnnxTrainee.forward``; x is given to the module as it is."""
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(_module: Any, _inputs: Any, result: Tensor) -> None:
                if name in found:
                    raise ModelError(
                        f"submodule {name!r} runs several times, so it does not name one layer; regularise "
                        "another one, or give each use a module of its own"
                    )
                found[name] = result

            return hook

        hooks = [
            self.module.get_submodule(name).register_forward_hook(keep(name))
            for name in self._tensors
            if name != self.output
        ]
        try:
            result = self.module(x, *held)
        finally:
            for hook in hooks:
                hook.remove()
        if self._binary and isinstance(result, Tensor):
            result = two_columns(self.output, result, len(x))
        return {**found, self.output: result}

    @contextlib.contextmanager
    def batch_statistics(self, active: bool) -> Iterator[None]:
        """See ``Trainee.batch_statistics``; torch's own layers follow their mode."""
        modes = [layer.training for layer in self._normalisations]
        for layer in self._normalisations:
            layer.train(active)
        try:
            yield
        finally:
            for layer, mode in zip(self._normalisations, modes, strict=True):
                layer.train(mode)


@dataclass(frozen=True)
class Job:
    """A model and what is wanted of it.

    Attributes:
        trainee: The model.
        outputs: The tensors that the loss reads; for classes, the logits alone.
        layers: The tensors that are regularised → the axis of each that counts samples.
        parameters: What trains, by name.
        statistics: Running statistics, by name.
        classes: Whether the first output holds logits.
        lowest_wins: The smallest score decides.
        low: Lower end of the range of inputs.
        high: Upper end.
        channel_axis: Of a batch of images; ``None`` for other inputs.
    """

    trainee: Trainee
    outputs: tuple[str, ...]
    layers: Mapping[str, int | None]
    parameters: Mapping[str, torch.nn.Parameter]
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    classes: bool = True
    lowest_wins: bool = False
    low: float = 0.0
    high: float = 1.0
    channel_axis: int | None = None
