"""Step sizes: what is tried, and what was chosen on which figures (``profiles/step_sizes*.yaml``)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from transrec_core.adapters.base import MATRICES
from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError

PROFILES = Path(__file__).parent / "profiles"
#: How the names of the files of chosen step sizes begin; each profile says which is its own.
STEP_SIZES = "step_sizes"
#: Of the runs that choose; no other run has it.
TUNING_SEED = 0


def grids() -> dict[str, tuple[float, ...]]:
    """Peak step sizes to choose from by method, of equal length (see book/protocol.md); one number for all
    that trains.

    An adapter's are those of its class; the rest stands here.
    """
    return {
        "full": (1e-3, 2e-3, 4e-3, 8e-3),
        "scratch": (1e-3, 2e-3, 4e-3, 8e-3),
        "item_id": (1e-3, 4e-3, 1.6e-2, 6.4e-2),
        "head": MATRICES,
        **{name: adapter.grid for name, adapter in METHODS.items()},
    }


class Untuned(UserError):
    """A method whose step size was not chosen yet."""


def step_sizes() -> dict[str, Any]:
    """What :func:`tune` wrote for all profiles: {cell, or cell and tuning: {method: {"chosen", "valid
    NDCG@10", "best step"}}}. Not to be changed.
    """
    found: dict[str, Any] = {}
    for path in sorted(PROFILES.glob(f"{STEP_SIZES}*.yaml")):
        found |= read_step_sizes(path, path.stat().st_mtime_ns)
    return found


@functools.lru_cache(maxsize=4)
def read_step_sizes(path: Path, changed: int) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def tuning_name(cell: str, tuning: str | None) -> str:
    """Key of the step sizes of a cell (by name), under a tuning of its own if it names one."""
    return cell if tuning is None else f"{cell}-{tuning}"


def tuned(cell: str, method: str, tuning: str | None = None) -> float:
    """The chosen step size of a method in a cell (by name).

    Raises:
        Untuned: if it was never tuned.
    """
    name = tuning_name(cell, tuning)
    try:
        return float(step_sizes()[name][method]["chosen"])
    except KeyError:
        raise Untuned(f"{method} has no step size for {name}; `transrec tune` chooses one") from None
