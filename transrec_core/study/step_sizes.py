"""Step sizes: what is tried, and what was chosen on which figures.

A table of chosen step sizes is a YAML file that ``transrec tune`` writes: {cell, or cell and tuning:
{method: {"chosen", "valid NDCG@10", "best step"}}}. Each profile has one in ``profiles/``; a study of one's
own has one beside its own file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transrec_core.adapters.base import MATRICES
from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError
from transrec_core.study.specs import read_yaml

PROFILES = Path(__file__).parent / "profiles"
#: How the names of the profiles' tables begin; each profile says which is its own.
STEP_SIZES = "step_sizes"
#: Of the runs that choose; no other run has it.
TUNING_SEED = 0


class Untuned(UserError):
    """A method whose step size was not chosen yet."""


def grids() -> dict[str, tuple[float, ...]]:
    """Peak step sizes to choose from in the embedded world, by method; one number for all that trains.

    They are of equal length (see book/protocol.md). An adapter's are those of its class, the rest is here.
    """
    return {
        "full": (1e-3, 2e-3, 4e-3, 8e-3),
        "scratch": (1e-3, 2e-3, 4e-3, 8e-3),
        "item_id": (1e-3, 4e-3, 1.6e-2, 6.4e-2),
        "head": MATRICES,
        **{name: adapter.grid for name, adapter in METHODS.items()},
    }


def packaged_table(name: str) -> Path:
    """The file of a profile's chosen step sizes.

    Args:
        name: as the profile's ``step_sizes`` has it.
    """
    return PROFILES / f"{name}.yaml"


def study_table(study: Path) -> Path:
    """The file of the step sizes chosen for a study of one's own: beside it, OWN.step_sizes.yaml."""
    return study.with_suffix(f".{STEP_SIZES}.yaml")


def read_step_sizes(path: Path) -> dict[str, Any]:
    """A table of chosen step sizes; empty if it is not there. Not to be changed."""
    return _parsed(path, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.lru_cache(maxsize=8)
def _parsed(path: Path, changed: int) -> dict[str, Any]:
    return read_yaml(path, "a table of chosen step sizes, as `transrec tune` writes it")


def step_sizes() -> dict[str, Any]:
    """The tables of all profiles in one. Not to be changed."""
    table: dict[str, Any] = {}
    for path in sorted(PROFILES.glob(f"{STEP_SIZES}*.yaml")):
        table |= read_step_sizes(path)
    return table


def tuning_name(cell: str, tuning: str | None) -> str:
    """Key of the step sizes of a cell.

    Args:
        cell: its name.
        tuning: a tuning of its own, if a factor names one.
    """
    return cell if tuning is None else f"{cell}-{tuning}"


def tuned(tables: Iterable[Path], cell: str, method: str, tuning: str | None = None) -> float:
    """The chosen step size of a method in a cell.

    Args:
        tables: files of chosen step sizes; the first that has it counts.
        cell: the cell's name.
        method: the method's name.
        tuning: see :func:`tuning_name`.

    Raises:
        Untuned: if it was never tuned.
    """
    name = tuning_name(cell, tuning)
    for path in tables:
        if method in (chosen := read_step_sizes(path).get(name, {})):
            return float(chosen[method]["chosen"])
    raise Untuned(f"{method} has no step size for {name}; `transrec tune` chooses one")
