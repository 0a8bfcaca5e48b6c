"""Damage to a protobuf message that is still one: any field of any part of it, by its type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.fuzz import values

if TYPE_CHECKING:
    from random import Random

# How deep parts are looked for; a model whose function calls itself has an end too.
_DEPTH = 24


def parts(message: Any, depth: int = _DEPTH) -> Iterator[Any]:
    """``message`` and every message in it."""
    yield message
    for field, content in message.ListFields() if depth else ():
        if field.type == field.TYPE_MESSAGE:
            for each in content if _repeated(field) else (content,):
                yield from parts(each, depth - 1)


def change_any_field(rng: Random, root: Any) -> None:
    """Change one field, set or not, of one message in ``root``."""
    every = list(parts(root))
    message = rng.choice(every)
    field = rng.choice(list(message.DESCRIPTOR.fields))
    if field.type == field.TYPE_MESSAGE:
        alike = [each for each in every if each.DESCRIPTOR is field.message_type]
        change = _change_parts if _repeated(field) else _change_part
        change(rng, message, field.name, alike)
    elif _repeated(field):
        _change_items(rng, getattr(message, field.name), field)
    elif rng.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(rng, field))


def _repeated(field: Any) -> bool:
    # protobuf 6 names it so, and warns of what earlier ones offer.
    found = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if found is None else found)


def _change_part(rng: Random, message: Any, name: str, alike: list[Any]) -> None:
    """Remove it, leave it empty, or put another of its kind in its place."""
    choice = rng.random()
    if choice < 0.3 or not alike:
        message.ClearField(name)
    elif choice < 0.5:
        getattr(message, name).Clear()
        getattr(message, name).SetInParent()
    else:
        getattr(message, name).CopyFrom(_copy(rng.choice(alike)))


def _change_parts(rng: Random, message: Any, name: str, alike: list[Any]) -> None:
    """Remove, repeat, swap or add one."""
    held = getattr(message, name)
    choice = rng.random()
    if choice < 0.25 and alike:
        held.append(_copy(rng.choice(alike)))
    elif choice < 0.3:
        held.add()
    elif not held:
        return
    elif choice < 0.5:
        del held[rng.randrange(len(held))]
    elif choice < 0.7:
        held.append(_copy(rng.choice(held)))
    elif choice < 0.75:
        del held[:]
    else:
        _swap(rng, held)


def _swap(rng: Random, held: Any) -> None:
    one, other = rng.randrange(len(held)), rng.randrange(len(held))
    kept = _copy(held[one])
    held[one].CopyFrom(_copy(held[other]))
    held[other].CopyFrom(kept)


def _change_items(rng: Random, held: Any, field: Any) -> None:
    choice = rng.random()
    if choice < 0.2 or not held:
        held.insert(rng.randint(0, len(held)), _scalar(rng, field))
    elif choice < 0.4:
        del held[rng.randrange(len(held))]
    elif choice < 0.5:
        del held[:]
    elif choice < 0.6:
        held.append(rng.choice(held))
    else:
        held[rng.randrange(len(held))] = _scalar(rng, field)


def _scalar(rng: Random, field: Any) -> Any:
    """An odd value that the field accepts."""
    kind = field.cpp_type
    if kind == field.CPPTYPE_ENUM:
        return rng.choice([each.number for each in field.enum_type.values])
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return values.number(rng)
    if kind == field.CPPTYPE_STRING:
        return values.raw(rng) if field.type == field.TYPE_BYTES else values.text(rng)
    least, most = _RANGES[field.type]
    return values.integer(rng, least, most)


def _copy(message: Any) -> Any:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


_RANGES = {
    # Numbers of google.protobuf.descriptor.FieldDescriptor: INT64, UINT64, INT32, UINT32.
    3: (-(2**63), 2**63 - 1),
    4: (0, 2**64 - 1),
    5: (-(2**31), 2**31 - 1),
    13: (0, 2**32 - 1),
}
