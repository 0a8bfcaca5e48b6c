"""What the folders of an image set say: which split, which classes, which label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lsa_onnx.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lsa_onnx.inputs.archives import Member

_SPLITS = ("test", "val", "valid", "validation", "train")


@dataclass
class ImageSet:
    """The images of one split.

    ``labels`` ``(n,)`` are positions in ``classes``, the class folders of all splits in
    alphabetical order; both are ``None`` where folders tell no classes.
    """

    members: list[Member]
    labels: NDArray[np.int64] | None = None
    classes: list[str] | None = None
    label_note: str = ""
    notes: list[str] = field(default_factory=list)


def arrange(members: Sequence[Member], split: str | None, source: str) -> ImageSet:
    """Read split and classes off the paths ``[wrapper/]...[split/]class/.../image``.

    Args:
        members: the images, sorted by path; at least one.
        split: the split folder wanted; by default test, else a validation folder, else train.
        source: how messages call the data.

    Raises:
        DataError: ``split`` is given and there is no such folder.
    """
    depth = _wrapper_depth(members, split)
    tops = {member.parts[depth] for member in members if len(member.parts) > depth + 1}
    directly = any(len(member.parts) == depth + 1 for member in members)
    splits = {top.lower(): top for top in sorted(tops) if top.lower() in _SPLITS or top == split}
    is_split = bool(splits) and not directly and len(splits) == len(tops)
    if split is not None and split.lower() not in splits:
        found = ", ".join(sorted(tops)[:8]) or "none"
        raise DataError(
            f"{source} has no folder {split!r} for --split; its top folders are: {found}"
        )
    if split is None and not is_split:
        return _labelled(members, members, depth)
    name = split.lower() if split is not None else next(name for name in _SPLITS if name in splits)
    inside = [member for member in members if _is_under(member, depth, splits[name])]
    every = [member for member in members if member.parts[depth].lower() in splits]
    result = _labelled(inside, every, depth + 1)
    others = sorted(top for top in tops if top != splits[name])
    beside = f" (not {', '.join(others[:8])})" if others else ""
    result.notes.append(f"split {splits[name]!r} used{beside}")
    return result


def splits_of(members: Sequence[Member]) -> set[str]:
    """The usual split folders that hold the images, in lower case."""
    depth = _wrapper_depth(members, None)
    return {m.parts[depth].lower() for m in members if len(m.parts) > depth + 1} & set(_SPLITS)


def _is_under(member: Member, depth: int, folder: str) -> bool:
    return len(member.parts) > depth + 1 and member.parts[depth] == folder


def _wrapper_depth(members: Sequence[Member], split: str | None) -> int:
    """Folders around everything, as archives often have one; a split or a lone class is none."""
    depth = 0
    while True:
        first = members[0].parts
        shared = all(len(m.parts) > depth + 2 and m.parts[depth] == first[depth] for m in members)
        if not shared or first[depth].lower() in _SPLITS or first[depth] == split:
            return depth
        depth += 1


def _labelled(members: Sequence[Member], every: Sequence[Member], depth: int) -> ImageSet:
    classes = sorted({member.parts[depth] for member in every if len(member.parts) > depth + 1})
    if any(len(member.parts) == depth + 1 for member in members):
        return ImageSet(list(members), label_note="images lie outside class folders: no labels")
    if len(classes) < 2:
        # One class tells nothing, and a folder of this kind is mostly just named "images".
        return ImageSet(list(members), label_note=f"one folder {classes[0]!r} only: no labels")
    position = {name: index for index, name in enumerate(classes)}
    labels = np.asarray([position[member.parts[depth]] for member in members], dtype=np.int64)
    note = f"labels from {len(classes)} class folders in alphabetical order"
    return ImageSet(list(members), labels, classes, note)
