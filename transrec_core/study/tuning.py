"""Step sizes: what is tried, what was chosen, and on which figures.

Chosen by ``transrec tune``: every method gets a grid of the same length, one tuning seed that is used for
nothing else, and the validation users; the choice is written to ``profiles/step_sizes*.yaml`` with the
figures that it rests on.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.study.executors import run_many
from transrec_core.study.grids import run_spec
from transrec_core.study.profile import Cell, Profile
from transrec_core.study.step_sizes import PROFILES, TUNING_SEED, grids, read_step_sizes, tuning_name
from transrec_core.study.store import Store


def tune(
    profile: Profile,
    store: Store,
    workers: int | None = None,
    again: bool = False,
    data_root: Path = Path(),
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Runs the grid of every method in every cell with the tuning seed and writes the choices (highest
    validation NDCG@10).

    Args:
        again: also tune what the table has already; otherwise only what is missing, such as a new method.
        data_root: where relative dataset folders start.
        only: questions whose cells are tuned; all if empty.

    Returns:
        {cell: {method: {"chosen": step size, "valid NDCG@10": {step size: figure}, "best step": {step size:
        step}}}}
    """
    path = PROFILES / f"{profile.step_sizes}.yaml"
    table = {} if not path.exists() else copy.deepcopy(read_step_sizes(path, path.stat().st_mtime_ns))
    wanted: dict[tuple[str, str], tuple[Cell, dict[str, Any]]] = {}
    for cell in (cell for name in only or profile.questions for cell in profile.question(name).cells):
        for method in (*cell.methods, *profile.controls_of(cell)):
            wanted.setdefault((cell.name, method), (cell, {}))
        for factor in (profile.factors[name] for name in cell.vary):
            for method in factor.methods:
                for tuning in {changes.get("tuning") for changes in factor.levels.values()}:
                    wanted.setdefault(
                        (tuning_name(cell.name, tuning), method),
                        (cell, profile.tunings[tuning] if tuning else {}),
                    )
    plan = []
    for (name, method), (cell, changes) in wanted.items():
        if again:
            table.get(name, {}).pop(method, None)
        if method in grids() and method not in table.get(name, {}):
            if method not in profile.grid_of(cell):
                raise UserError(
                    f"cell {cell.name}: no step sizes to choose from for {method}; its pair's grids have none"
                )
            plan += [
                (name, method, lr, run_spec(profile, cell, method, TUNING_SEED, lr, changes))
                for lr in profile.grid_of(cell)[method]
            ]
    records = run_many([spec for *_, spec in plan], store, data_root, workers=workers)
    for (name, method, lr, _), record in zip(plan, records, strict=True):
        entry = table.setdefault(name, {}).setdefault(
            method, {"chosen": None, "valid NDCG@10": {}, "best step": {}}
        )
        entry["valid NDCG@10"][lr] = round(record.facts["valid"]["NDCG@10"], 4)
        entry["best step"][lr] = record.facts["best_step"]
    for methods in table.values():
        for entry in methods.values():
            entry["chosen"] = max(entry["valid NDCG@10"], key=entry["valid NDCG@10"].get)
    head = "# Written by `transrec tune`: validation figures of the tuning seed and the step size chosen from them. Do not edit.\n"
    atomic_write(path, head + yaml.safe_dump(table, sort_keys=False))
    return table
