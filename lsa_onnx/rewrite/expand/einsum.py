"""``Einsum`` as transpositions, matrix products and sums, two operands at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce

import onnx

from lsa_onnx.rewrite.expand.builder import Builder, Expansion, NotExpandable, Operand

_INT64 = onnx.TensorProto.INT64


@dataclass(frozen=True)
class _Term:
    """A tensor and the label of each of its dimensions."""

    name: str
    labels: tuple[str, ...]


def _einsum(b: Builder) -> str:
    terms, wanted = _parsed(b)
    current = _only_needed(b, terms[0], _needed(terms[1:], wanted))
    for index, term in enumerate(terms[1:], 1):
        later = _needed(terms[index + 1 :], wanted)
        other = _only_needed(b, term, later | set(current.labels))
        current = _only_needed(b, current, later | set(other.labels))
        current = _product(b, current, other, later)
    return _transposed(b, _only_needed(b, current, set(wanted)), wanted).name


def _needed(terms: list[_Term], wanted: tuple[str, ...]) -> set[str]:
    """The labels that something still asks for."""
    return set(wanted).union(*(term.labels for term in terms))


def _parsed(b: Builder) -> tuple[list[_Term], tuple[str, ...]]:
    """The operands with their labels, and the labels of the result."""
    equation = b.attribute("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    texts = left.split(",")
    if len(texts) != len(b.node.input):
        raise NotExpandable(f"the equation {equation!r} has {len(texts)} terms")
    dots = max(_dotted(text, b.rank(name)) for text, name in zip(texts, b.node.input, strict=True))
    terms = [
        _Term(name, _labels(text, _dotted(text, b.rank(name)), dots))
        for text, name in zip(texts, b.node.input, strict=True)
    ]
    if arrow:
        return terms, _labels(right, dots, dots)
    letters = sorted(letter for letter in set(left) - set(".,") if left.count(letter) == 1)
    return terms, _labels("..." + "".join(letters), dots, dots)


def _dotted(text: str, rank: int) -> int:
    """How many dimensions the dots of a term stand for."""
    return rank - len(text.replace("...", "")) if "..." in text else 0


def _labels(text: str, dots: int, most: int) -> tuple[str, ...]:
    """One label for each dimension; those of dots are numbered so that the last ones line up."""
    before, found, after = text.partition("...")
    numbered = [str(index) for index in range(most - dots, most)] if found else []
    return (*before, *numbered, *after)


def _only_needed(b: Builder, term: _Term, needed: set[str]) -> _Term:
    """The term with each label once, summed over labels that nothing asks for."""
    for label in term.labels:
        while term.labels.count(label) > 1:
            term = _diagonal(b, term, label)
    axes = [axis for axis, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    kept = tuple(label for label in term.labels if label in needed)
    return _Term(b("ReduceSum", term.name, axes, keepdims=0), kept)


def _diagonal(b: Builder, term: _Term, label: str) -> _Term:
    """The entries at which the first two dimensions of that label agree.

    The others are replaced by 0 and the second dimension is summed over, which needs no size.
    """
    first = term.labels.index(label)
    second = term.labels.index(label, first + 1)
    rank = len(term.labels)
    places = []
    for axis in (first, second):
        count = b("Squeeze", b.dims(term.name, axis, axis + 1))
        steps = b("Range", b.scalar(0, _INT64), count, b.scalar(1, _INT64))
        places.append(b("Reshape", steps, [-1 if other == axis else 1 for other in range(rank)]))
    zero = b.scalar(0, b.element(b.node.input[0]))
    agreeing = b("Where", b("Equal", *places), term.name, zero)
    labels = term.labels[:second] + term.labels[second + 1 :]
    return _Term(b("ReduceSum", agreeing, [second], keepdims=0), labels)


def _transposed(b: Builder, term: _Term, labels: tuple[str, ...]) -> _Term:
    """The term with its dimensions in the order of ``labels``, which are the same ones."""
    if set(labels) != set(term.labels) or len(labels) != len(term.labels):
        raise NotExpandable("the result names a label that no term has, or one twice")
    if labels == term.labels:
        return term
    return _Term(b("Transpose", term.name, perm=[term.labels.index(x) for x in labels]), labels)


def _product(b: Builder, left: _Term, right: _Term, later: set[str]) -> _Term:
    """Two terms multiplied, and summed over the labels that both have and nothing asks for later."""
    common = [label for label in left.labels if label in right.labels]
    batch = tuple(label for label in common if label in later)
    summed = tuple(label for label in common if label not in later)
    rows = tuple(label for label in left.labels if label not in common)
    columns = tuple(label for label in right.labels if label not in common)
    labels = (*batch, *rows, *columns)
    left = _transposed(b, left, (*batch, *rows, *summed))
    right = _transposed(b, right, (*batch, *summed, *columns))
    if not summed:
        return _Term(
            b("Mul", _widened(b, left, len(columns)), _between(b, right, batch, rows)), labels
        )
    parts = (len(rows), len(summed), len(columns))
    product = b(
        "MatMul",
        _as_matrices(b, left.name, len(batch), parts[0], parts[1]),
        _as_matrices(b, right.name, len(batch), parts[1], parts[2]),
    )
    return _Term(_split_up(b, product, left.name, right.name, len(batch), parts), labels)


def _widened(b: Builder, term: _Term, count: int) -> str:
    """The tensor with ``count`` dimensions of 1 behind."""
    rank = len(term.labels)
    return b("Unsqueeze", term.name, list(range(rank, rank + count))) if count else term.name


def _between(b: Builder, term: _Term, batch: tuple[str, ...], rows: tuple[str, ...]) -> str:
    """The tensor with a dimension of 1 for each row label behind its batch dimensions."""
    start = len(batch)
    return b("Unsqueeze", term.name, list(range(start, start + len(rows)))) if rows else term.name


def _as_matrices(b: Builder, name: str, batch: int, rows: int, columns: int) -> str:
    """(batch…, rows…, columns…) as (batch…, all rows, all columns)."""
    if rows == 1 and columns == 1:
        return name
    pieces: list[Operand] = [b.dims(name, 0, batch)] if batch else []
    pieces += [
        _count(b, name, batch, batch + rows),
        _count(b, name, batch + rows, batch + rows + columns),
    ]
    return b("Reshape", name, b.concat_dims(*pieces))


def _count(b: Builder, name: str, first: int, last: int) -> Operand:
    """How many entries these dimensions have together, as a vector of one number."""
    if first == last:
        return [1]
    # ONNX's inference follows products of dimensions, but not ReduceProd.
    return reduce(partial(b, "Mul"), (b.dims(name, axis, axis + 1) for axis in range(first, last)))


def _split_up(
    b: Builder, product: str, left: str, right: str, batch: int, parts: tuple[int, int, int]
) -> str:
    """(batch…, all rows, all columns) with the rows of ``left`` and the columns of ``right``."""
    rows, summed, columns = parts
    if rows == 1 and columns == 1:
        return product
    pieces: list[Operand] = [b.dims(product, 0, batch)] if batch else []
    pieces += [b.dims(left, batch, batch + rows)] if rows else []
    pieces += [b.dims(right, batch + summed, batch + summed + columns)] if columns else []
    shape = b.concat_dims(*pieces) if pieces else b.operand(list[int]())
    return b("Reshape", product, shape)


EXPANSIONS: dict[tuple[str, str], Expansion] = {("", "Einsum"): _einsum}
