"""What can be written into a specification: every key with its type, its default, and a line of meaning from
the docstrings.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.registry import METHODS
from transrec_core.study.specs import RunSpec

_ENTRY = re.compile(r"(\w+(?:, \w+)*): (.+)")


class Key(NamedTuple):
    """One key of a specification.

    Attributes:
        name: with dots, as ``--set`` takes it.
        kind: what its value is.
        default: what it is if nobody says.
        meaning: one line.
        methods: adapter methods that have it; empty for all other keys.
    """

    name: str
    kind: str
    default: str
    meaning: str
    methods: tuple[str, ...] = ()


def keys() -> list[Key]:
    """All keys of a run's specification, an adapter's last: what all methods share, then what some have."""
    rows = list(_keys(RunSpec, ""))
    rows += [key for key in _keys(AdapterConfig, "adapter.") if key.name != "adapter.method"]
    special: dict[Key, list[str]] = {}
    for method, adapter in METHODS.items():
        for key in _keys(adapter.Config, "adapter."):
            if key.name.removeprefix("adapter.") not in AdapterConfig.model_fields:
                special.setdefault(key, []).append(method)
    return rows + [key._replace(methods=tuple(methods)) for key, methods in special.items()]


def _keys(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    text = meanings(model)
    for name, field in model.model_fields.items():
        kind, default = field.annotation, field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            yield from _keys(type(default), f"{prefix}{name}.")
        else:
            named = prefix == "" and name == "adapter"  # a mapping of its own, told by its method
            meaning = text.get(name, "")
            yield Key(f"{prefix}{name}", "mapping" if named else _kind(kind), _shown(default), meaning)


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What the "Attributes" of a class and its bases say of each field, in one line each."""
    lines: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        text = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2]
        names: list[str] = []
        for line in text.splitlines():
            if line.startswith("    ") and (entry := _ENTRY.match(line[4:])):
                names = entry[1].split(", ")
                lines |= dict.fromkeys(names, entry[2])
            elif line.startswith("     "):
                lines |= {name: f"{lines[name]} {line.strip()}" for name in names}
            else:
                names = []
    return lines


def _kind(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_kind(part) for part in inner)
    if origin is not None:
        return f"[{', '.join('...' if part is Ellipsis else _kind(part) for part in inner)}]"
    return "none" if annotation is type(None) else str(annotation.__name__)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
