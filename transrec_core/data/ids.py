"""Ids of items and users as people have them: texts or whole numbers, shown back as they were given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

CHANGES_NO_RESULT = True

Id = str | int


def plain_id(value: Any) -> Id:
    """An id as Python has it.

    Args:
        value: a text, a whole number of any kind (7.0 is one: pandas makes floats of integers where one is
            missing), or anything else, which is taken by its text.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return value
    try:
        if value == int(value):
            return int(value)
    except (TypeError, ValueError, OverflowError):
        pass
    return str(value)


def id_text(value: Any) -> str:
    """What tells two ids apart: 17 and "17" are one, as they are in a file."""
    return str(plain_id(value))


def numbered(ids: Iterable[Id]) -> dict[str, int]:
    """The number of each id, from 1, by its text; of two with the same text the first counts.

    Args:
        ids: without the unused one at index 0.
    """
    index: dict[str, int] = {}
    for number, value in enumerate(ids, 1):
        index.setdefault(id_text(value), number)
    return index
