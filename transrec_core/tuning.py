"""Step sizes: what is tried, what was chosen, and on which figures.

Chosen by ``transrec tune``: every method gets a grid of the same length, one tuning seed that is used for nothing else, and the
validation users; the choice is written to ``profiles/step_sizes*.yaml`` with the figures that it rests on.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from transrec_core.errors import UserError
from transrec_core.files import atomic_write
from transrec_core.store import Store

if TYPE_CHECKING:
    from transrec_core.grids import Cell, Profile

PROFILES = Path(__file__).parent / "profiles"
#: How the names of the files of chosen step sizes begin; each profile says which is its own.
STEP_SIZES = "step_sizes"
TUNING_SEED = 0

_MATRICES = (5e-3, 1e-2, 2e-2, 4e-2)  # adapters made of matrices, and the head
_VECTORS = (1e-2, 2e-2, 4e-2, 8e-2)  # adapters made of vectors

#: Equal length for every method (see book/protocol.md). One number a run: the peak learning rate of all that trains.
GRID: dict[str, tuple[float, ...]] = {
    "full": (1e-3, 2e-3, 4e-3, 8e-3),
    "scratch": (1e-3, 2e-3, 4e-3, 8e-3),
    "item_id": (1e-3, 4e-3, 1.6e-2, 6.4e-2),
    **dict.fromkeys(("head", "houlsby", "pfeiffer", "parallel", "compacter", "lora", "dora", "side"), _MATRICES),
    "rslora": (2.5e-3, 5e-3, 1e-2, 2e-2),  # its update is sqrt(rank) times LoRA's
    "k_adapter": (2.5e-3, 5e-3, 1e-2, 2e-2),  # it is made of transformer layers
    **dict.fromkeys(("ia3", "bitfit", "layernorm"), _VECTORS),
    **dict.fromkeys(("prompt", "prefix"), (1e-2, 3e-2, 1e-1, 3e-1)),
}


class Untuned(UserError):
    """A method whose step size was not chosen yet."""


def step_sizes() -> dict[str, Any]:
    """What :func:`tune` wrote for all profiles: {cell, or cell and tuning: {method: {"chosen", "valid NDCG@10", "best step"}}}. Not to be changed."""
    found: dict[str, Any] = {}
    for path in sorted(PROFILES.glob(f"{STEP_SIZES}*.yaml")):
        found |= _read_step_sizes(path, path.stat().st_mtime_ns)
    return found


@functools.lru_cache(maxsize=4)
def _read_step_sizes(path: Path, changed: int) -> dict[str, Any]:
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


def tune(
    profile: Profile, store: Store, workers: int | None = None, again: bool = False, data_root: Path = Path(), only: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Runs the grid of every method in every cell with the tuning seed and writes the choices (highest validation NDCG@10).

    Args:
        again: also tune what the table has already; otherwise only what is missing, such as a new method.
        data_root: where relative dataset folders start. only: questions whose cells are tuned; all if empty.

    Returns:
        {cell: {method: {"chosen": step size, "valid NDCG@10": {step size: figure}, "best step": {step size: step}}}}
    """
    from transrec_core.grids import run_spec  # they rest on this module
    from transrec_core.study import run_many

    path = PROFILES / f"{profile.step_sizes}.yaml"
    table = {} if not path.exists() else copy.deepcopy(_read_step_sizes(path, path.stat().st_mtime_ns))
    wanted: dict[tuple[str, str], tuple[Cell, dict[str, Any]]] = {}
    for cell in (cell for name in only or profile.questions for cell in profile.question(name).cells):
        for method in (*cell.methods, *profile.controls_of(cell)):
            wanted.setdefault((cell.name, method), (cell, {}))
        for factor in (profile.factors[name] for name in cell.vary):
            for method in factor.methods:
                for tuning in {changes.get("tuning") for changes in factor.levels.values()}:
                    wanted.setdefault((tuning_name(cell.name, tuning), method), (cell, profile.tunings[tuning] if tuning else {}))
    plan = []
    for (name, method), (cell, changes) in wanted.items():
        if again:
            table.get(name, {}).pop(method, None)
        if method in GRID and method not in table.get(name, {}):
            if method not in profile.grid_of(cell):
                raise UserError(f"cell {cell.name}: no step sizes to choose from for {method}; its pair's grids have none")
            plan += [(name, method, lr, run_spec(profile, cell, method, TUNING_SEED, lr, changes)) for lr in profile.grid_of(cell)[method]]
    records = run_many([spec for *_, spec in plan], store, data_root, workers=workers)
    for (name, method, lr, _), record in zip(plan, records, strict=True):
        entry = table.setdefault(name, {}).setdefault(method, {"chosen": None, "valid NDCG@10": {}, "best step": {}})
        entry["valid NDCG@10"][lr] = round(record.facts["valid"]["NDCG@10"], 4)
        entry["best step"][lr] = record.facts["best_step"]
    for methods in table.values():
        for entry in methods.values():
            entry["chosen"] = max(entry["valid NDCG@10"], key=entry["valid NDCG@10"].get)
    head = "# Written by `transrec tune`: validation figures of the tuning seed and the step size chosen from them. Do not edit.\n"
    atomic_write(path, head + yaml.safe_dump(table, sort_keys=False))
    return table
