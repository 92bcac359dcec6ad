"""Adapter methods by name. Each file in ``methods/`` is imported once, when somebody first asks what there
is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from transrec_core.base.config import nearest
from transrec_core.base.errors import UserError

if TYPE_CHECKING:
    from transrec_core.adapters.base import Adapter

#: See study/meaning.py.
CHANGES_NO_RESULT = True

#: Families in the order of tables and pages; those of other names come last.
FAMILIES = ("bottleneck", "low rank", "soft prompt", "beside the backbone", "vectors")


class Methods(Mapping[str, "type[Adapter]"]):
    """All adapter classes by the name of their method: by family, then by year, then by name."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Adapter]] = {}
        self._searched = False

    def add(self, name: str, adapter: type[Adapter]) -> None:
        """Takes a class in, see :func:`register`."""
        self._classes[name] = adapter

    def knows(self, name: str) -> bool:
        """Whether a method of this name is registered already; searches no files."""
        return name in self._classes

    def _all(self) -> dict[str, type[Adapter]]:
        if not self._searched:
            self._searched = True
            package = importlib.import_module("transrec_core.adapters.methods")
            for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
                importlib.import_module(module.name)
            self._classes = dict(sorted(self._classes.items(), key=lambda entry: _place(entry[1])))
        return self._classes

    def __getitem__(self, name: str) -> type[Adapter]:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def _place(adapter: type[Adapter]) -> tuple[int, int, str]:
    family = FAMILIES.index(adapter.family) if adapter.family in FAMILIES else len(FAMILIES)
    return family, adapter.year, adapter.method


METHODS = Methods()


def register(adapter: type[Adapter]) -> type[Adapter]:
    """Class decorator: makes an adapter known under the name that its ``Config`` has as ``method``.

    Raises:
        TypeError: if it has no ``Config`` of its own.
    """
    name = adapter.Config.model_fields["method"].default
    if METHODS.knows(name):
        raise TypeError(f"{adapter.__name__} needs a Config of its own, with a name that no other method has")
    adapter.method = name
    METHODS.add(name, adapter)
    return adapter


def method(name: str) -> type[Adapter]:
    """The adapter class registered as ``name``.

    Raises:
        UserError: if there is none; names the nearest.
    """
    if name not in METHODS:
        raise UserError(f"unknown adapter method '{name}'; {nearest(name, METHODS)}")
    return METHODS[name]
