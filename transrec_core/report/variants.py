"""Complete runs of a cell by variant, as a store has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transrec_core.report.comparisons import Runs
from transrec_core.report.names import in_order
from transrec_core.study.grids import planned, variant_spec
from transrec_core.study.profile import Cell, Profile, Question, Variant
from transrec_core.study.record import Record, UnusableRecord
from transrec_core.study.step_sizes import Untuned
from transrec_core.study.store import Store

#: The base point of RQ3, and its levels.
BASE_POINT = Variant("houlsby")
BASE_LEVELS = {
    "encoder": "both",
    "position": "both",
    "layers": "all",
    "form": "serial",
    "size": "16/8",
    "activation": "gelu",
    "init": "kaiming",
    "layernorm": "fixed",
    "head": "trained",
    "embeddings": "fixed",
}


def cell_runs(
    profile: Profile, cell: Cell, seeds: Sequence[int], store: Store, partial: bool = False
) -> tuple[Runs, list[Variant]]:
    """Records of a cell's variants and controls.

    Args:
        profile: what the cell is part of.
        cell: the comparison.
        seeds: of the adaptation.
        store: where the records are.
        partial: while a study is under way, the seeds that the cell's first method has are enough, for it and
            for all that is compared with it.

    Returns:
        The records by variant; and the variants of which a run is not recorded, or its record damaged.
    """
    asked = planned(profile, cell, tuple(seeds))
    plan = {variant: run_ids(profile, cell, variant, chosen) for variant, chosen in asked.items()}
    first = plan.get(Variant(cell.methods[0])) if cell.methods else None
    if partial and first:
        recorded = {seed for seed, run_id in first.items() if _read(store, [run_id])}
        plan = {
            variant: {s: i for s, i in ids.items() if s in recorded or len(asked[variant]) == 1}
            for variant, ids in plan.items()
        }
    read = {variant: _read(store, list(ids.values())) for variant, ids in plan.items()}
    missing = [variant for variant, records in read.items() if not records]
    return {variant: records for variant, records in read.items() if records}, missing


def question_runs(profile: Profile, question: Question, store: Store) -> dict[Cell, Runs]:
    """Records of each cell of a question by variant, see :func:`cell_runs`."""
    return {cell: cell_runs(profile, cell, question.seeds, store)[0] for cell in question.cells}


def study_runs(profile: Profile, store: Store) -> dict[str, dict[Cell, Runs]]:
    """The same for all questions of a profile, by the question's name."""
    return {name: question_runs(profile, question, store) for name, question in profile.questions.items()}


def run_ids(profile: Profile, cell: Cell, variant: Variant, seeds: Sequence[int]) -> dict[int, str]:
    """Ids of a variant's runs by seed; none if it has no step size yet, so that it can't be recorded."""
    try:
        return {seed: variant_spec(profile, cell, variant, seed).id() for seed in seeds}
    except Untuned:
        return {}


def _read(store: Store, ids: Sequence[str]) -> list[Record]:
    # All of them or none.
    try:
        return [store.read(run_id) for run_id in ids] if all(store.has(run_id) for run_id in ids) else []
    except UnusableRecord:
        return []


def single_changes(runs: Runs, base: Variant) -> list[Variant]:
    """The variants of a cell that differ from a base point in one factor."""
    return [v for v in runs if v.method == base.method and len(v.levels) == 1]


def test_users(runs: Runs) -> int:
    """How many test cases the runs of a cell have."""
    return int(next(iter(runs.values()))[0].facts["cases"])


def seed_counts(cells: Mapping[Cell, Runs], varied: bool = False) -> list[int]:
    """With how many seeds the things in these cells were run, each number once, rising.

    Args:
        cells: runs by cell.
        varied: look only at variants that change something.
    """
    return sorted({len(r) for runs in cells.values() for v, r in runs.items() if v.levels or not varied})


def run_count(cells: Mapping[Cell, Runs]) -> int:
    """How many records these cells have."""
    return sum(len(records) for runs in cells.values() for records in runs.values())


def has_adapters(runs: Runs) -> bool:
    """Whether an adapter is among the methods of a cell."""
    return any(not v.levels and records[0].spec.adapter is not None for v, records in runs.items())


def adapters_of(cells: Mapping[Cell, Runs]) -> list[str]:
    """The adapter methods that were run in these cells, in the order of tables."""
    return in_order(
        v.method for runs in cells.values() for v, r in runs.items() if r[0].spec.adapter is not None
    )
