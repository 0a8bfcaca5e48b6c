"""The geometry of sliding windows: kernels, strides, dilations and pads, in every spelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsa_trainer.ops.registry import Ints


@dataclass(frozen=True)
class Window:
    """A sliding window, with one number per spatial axis each.

    Attributes:
        kernel: Size.
        strides: Distance between the starts of neighbouring windows.
        dilations: Distance between neighbouring elements of a window.
    """

    kernel: Ints
    strides: Ints
    dilations: Ints

    @classmethod
    def of(cls, kernel: Sequence[int], strides: Ints | None, dilations: Ints | None) -> Window:
        """The window that these attributes describe; strides and dilations are 1 if left out."""
        ones = [1] * len(kernel)
        return cls(list(kernel), strides or ones, dilations or ones)

    @property
    def spans(self) -> Ints:
        """From the first to the last element, both included."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    def margins(
        self,
        sizes: Sequence[int],
        auto_pad: str,
        pads: Ints | None,
        spans: Ints | None = None,
    ) -> tuple[Ints, Ints]:
        """Padding before the first element and behind the last one.

        Args:
            sizes: What the window slides over.
            auto_pad: ONNX's attribute.
            pads: ONNX's attribute, read where ``auto_pad`` is NOTSET.
            spans: What automatic padding takes the window to span, ``self.spans`` if left out.
        """
        spatial = len(self.kernel)
        if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            given = pads if pads and auto_pad == "NOTSET" else [0] * 2 * spatial
            return given[:spatial], given[spatial:]
        totals = [
            max(0, (-(-size // stride) - 1) * stride + span - size)
            for size, stride, span in zip(sizes, self.strides, spans or self.spans, strict=True)
        ]
        return halves(totals, auto_pad)

    def count(self, sizes: Sequence[int], begins: Ints, ends: Ints, *, ceil: bool) -> Ints:
        """How many windows there are.

        Args:
            sizes: What the window slides over.
            begins: Padding before the first element.
            ends: Padding behind the last one.
            ceil: Whether a last window may reach beyond the padding. One that starts in the padding
                behind is left out.
        """
        counts = []
        axes = zip(sizes, begins, ends, self.strides, self.spans, strict=True)
        for size, begin, end, stride, span in axes:
            room = size + begin + end - span
            last = -(-room // stride) if ceil else room // stride
            if ceil and last * stride >= size + begin:
                last -= 1
            counts.append(last + 1)
        return counts

    def reached(self, sizes: Sequence[int], begins: Ints, counts: Ints) -> Ints:
        """Padding behind the last element, up to where the last of ``counts`` windows ends."""
        axes = zip(sizes, begins, counts, self.strides, self.spans, strict=True)
        return [
            (count - 1) * stride + span - size - begin for size, begin, count, stride, span in axes
        ]


def halves(totals: Ints, auto_pad: str) -> tuple[Ints, Ints]:
    """Padding split between both sides: an odd element goes behind only for SAME_UPPER."""
    begins = [n // 2 if auto_pad == "SAME_UPPER" else n - n // 2 for n in totals]
    return begins, [n - begin for n, begin in zip(totals, begins, strict=True)]


def as_torch_pads(begins: Ints, ends: Ints) -> Ints:
    """Pads as ``torch.nn.functional.pad`` takes them: pairs, the last axis first."""
    pairs = reversed(list(zip(begins, ends, strict=True)))
    return [n for pair in pairs for n in pair]
