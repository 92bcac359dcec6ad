"""Configurations that refuse unknown keys, and how a mistake in one is told in a line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


def nearest(name: object, known: Iterable[str]) -> str:
    """What to suggest for a name that does not exist.

    Args:
        name: what was written.
        known: what could have been.

    Returns:
        "did you mean 'x'?" if one is near, else a list of what there is.
    """
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}"


class StrictModel(BaseModel):
    """A configuration that refuses unknown keys and names the nearest known one, or all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(
                        f"unknown key '{key}' in {cls.__name__}; {nearest(key, cls.model_fields)}"
                    )
        return data


#: What pydantic's kinds of complaints ask for, in plain words.
_WANTED = {
    **dict.fromkeys(("tuple_type", "list_type", "set_type"), "a list, [a, b, c]"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("dict_type", "model_type"), "a mapping of keys to values"),
    "string_type": "text",
}


def first_problem(error: ValidationError, *left_out: str) -> str:
    """The first of pydantic's complaints as one line: the field and what is wrong with it.

    Args:
        error: what validation raised.
        left_out: parts of the field's path that say nothing to the reader.
    """
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"] if part not in left_out]
    where = ".".join(part for part in path if "[" not in part)  # "[": a branch of a union
    message = " ".join(problem["msg"].removeprefix("Value error, ").split())
    wanted = _WANTED.get(problem["type"], message.removeprefix("Input should be "))
    if problem["type"] == "missing":
        message = "is missing"
    elif wanted != message:
        message = f"should be {wanted}, not {_shown(problem['input'])}"
    return f"{where}: {message}" if where else message


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{text[:40]}..."
