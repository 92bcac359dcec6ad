"""Choosing step sizes: every method gets a grid of the same length, one tuning seed that is used for nothing
else, and the validation users.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.study.checks import check_run
from transrec_core.study.executors import run_many
from transrec_core.study.grids import check_method, run_spec, trains
from transrec_core.study.profile import Cell, Profile
from transrec_core.study.specs import RunSpec
from transrec_core.study.step_sizes import TUNING_SEED, Untuned, read_step_sizes, tuning_name
from transrec_core.study.store import Store

HEAD = (
    "# Written by `transrec tune`: validation figures of the tuning seed, and the step size chosen from "
    "them.\n"
    "# Do not edit.\n"
)


class Choice(NamedTuple):
    """A step size that is to be chosen: of a method in a cell, under another tuning if a factor names one."""

    cell: Cell
    method: str
    tuning: str | None = None

    @property
    def name(self) -> str:
        """Key of its table."""
        return tuning_name(self.cell.name, self.tuning)


def choices(profile: Profile, only: Sequence[str] = ()) -> list[Choice]:
    """The step sizes that a profile needs, each once.

    Args:
        profile: any.
        only: questions that count; all if empty.
    """
    needed: dict[tuple[str, str], Choice] = {}
    for cell in (cell for name in only or profile.questions for cell in profile.question(name).cells):
        asked = [Choice(cell, method) for method in (*cell.methods, *profile.controls_of(cell))]
        for factor in (
            profile.factors[name] for name in (*cell.vary, *(n for group in cell.cross for n in group))
        ):
            tunings = dict.fromkeys(changes.get("tuning") for changes in factor.levels.values())
            asked += [Choice(cell, method, tuning) for method in factor.methods for tuning in tunings]
        for choice in asked:
            check_method(cell, choice.method)
            if trains(choice.method):
                needed.setdefault((choice.name, choice.method), choice)
    return list(needed.values())


def tune(
    profile: Profile,
    store: Store,
    workers: int | None = None,
    again: bool = False,
    data_root: Path = Path(),
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Runs the grid of every method in every cell with the tuning seed and writes the choices (highest
    validation NDCG@10) into the first of the profile's tables.

    Args:
        profile: whose cells are tuned.
        store: of the runs that choose.
        workers: processes; None means one for each core.
        again: also tune what a table has already; otherwise only what is missing, such as a new method.
        data_root: where relative dataset folders start.
        only: questions whose cells are tuned; all if empty.

    Returns:
        The table, {cell: {method: {"chosen": step size, "valid NDCG@10": {step size: figure}, "best step":
        {step size: step}}}}.

    Raises:
        UserError: if a method has no step sizes to choose from, or a run failed.
    """
    path = profile.step_size_tables[0]
    table = copy.deepcopy(read_step_sizes(path))
    runs: list[tuple[Choice, float, RunSpec]] = []
    for choice in choices(profile, only):
        if again:
            table.get(choice.name, {}).pop(choice.method, None)
        if again or not _is_chosen(profile, choice):
            runs += [(choice, lr, spec) for lr, spec in _tried(profile, choice).items()]
    for *_, spec in runs:
        check_run(spec)
    records = run_many([spec for *_, spec in runs], store, data_root, workers=workers)
    for (choice, lr, _), record in zip(runs, records, strict=True):
        methods = table.setdefault(choice.name, {})
        entry = methods.setdefault(choice.method, {"chosen": None, "valid NDCG@10": {}, "best step": {}})
        figures = entry["valid NDCG@10"]
        figures[lr] = round(record.facts["valid"]["NDCG@10"], 4)
        entry["best step"][lr] = record.facts["best_step"]
        entry["chosen"] = max(figures, key=figures.get)
    if runs:
        atomic_write(path, HEAD + yaml.safe_dump(table, sort_keys=False))
    return table


def _is_chosen(profile: Profile, choice: Choice) -> bool:
    try:
        profile.step_size(*choice)
    except Untuned:
        return False
    return True


def _tried(profile: Profile, choice: Choice) -> dict[float, RunSpec]:
    """The runs that choose, by step size."""
    cell, method, tuning = choice
    grid = profile.grid_of(cell).get(method, ())
    if not grid:
        of_pair = "; its pair's grids have none" if cell.pair else ""
        raise UserError(f"cell {cell.name}: no step sizes to choose from for {method}{of_pair}")
    changes = profile.tunings[tuning] if tuning else {}
    return {lr: run_spec(profile, cell, method, TUNING_SEED, lr, changes) for lr in grid}
