"""Packages whose names are imported when they are first asked for: a command that needs no torch does not
wait for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that hands out names of its modules (PEP 562).

    Args:
        package: the package's own ``__name__``.
        homes: module, relative to ``package``, by the name that it defines.

    Returns:
        The two functions, to be assigned in the package.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return get, lambda: sorted(homes)
