"""What a store holds of a profile, whatever part of it: what was run, what was not, what can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from transrec_core.report.comparisons import FULL, Runs
from transrec_core.report.variants import cell_runs, run_ids
from transrec_core.study.grids import planned
from transrec_core.study.profile import Cell, Profile, Variant
from transrec_core.study.store import Store


class Planned(NamedTuple):
    """A variant that a question of a profile asks for.

    Attributes:
        question: the question's name.
        cell: where it is compared.
        variant: what is run.
        seeds: with which seeds.
        ids: of its runs by seed; none if it has no step size yet.
    """

    question: str
    cell: Cell
    variant: Variant
    seeds: tuple[int, ...]
    ids: dict[int, str]


class Evidence(NamedTuple):
    """What a store holds of a profile.

    Attributes:
        runs: complete variants by question and cell.
        plan: everything that was planned.
        recorded: ids of the runs that are recorded.
    """

    runs: dict[str, dict[Cell, Runs]]
    plan: list[Planned]
    recorded: set[str]

    def cells(self, kind: str) -> list[tuple[Cell, Runs]]:
        """Cells of the questions whose names begin with ``kind`` that can be compared, in order of worth:
        full fine-tuning is recorded, and something besides that no earlier question has (it would only
        be shown again, with fewer seeds).
        """
        chosen: list[tuple[Cell, Runs]] = []
        seen: set[tuple[str, Variant]] = set()
        for name, cells in self.runs.items():
            for cell, runs in cells.items():
                compared = {(cell.name, variant) for variant in runs}
                if name.startswith(kind) and FULL in runs and len(compared - seen - {(cell.name, FULL)}):
                    chosen.append((cell, runs))
                seen |= compared
        return chosen

    def planned_ids(self) -> set[str]:
        """Ids of all planned runs whose step sizes are chosen."""
        return {run_id for entry in self.plan for run_id in entry.ids.values()}

    def untuned(self) -> int:
        """How many planned comparisons have no step size yet."""
        return sum(not entry.ids for entry in self.plan)

    def complete_questions(self) -> list[str]:
        """Questions of which every planned run is recorded."""
        open_ = {entry.question for entry in self.plan if left_out(entry, self.recorded)}
        return [name for name in self.runs if name not in open_]


def gather(profile: Profile, store: Store) -> Evidence:
    """Reads what is recorded; a store without anything gives empty runs."""
    runs: dict[str, dict[Cell, Runs]] = {}
    plan = list(_plan(profile))
    for name, question in profile.questions.items():
        runs[name] = {
            cell: cell_runs(profile, cell, question.seeds, store, partial=True)[0] for cell in question.cells
        }
    evidence = Evidence(runs, plan, set())
    evidence.recorded.update(run_id for run_id in evidence.planned_ids() if store.has(run_id))
    return evidence


def _plan(profile: Profile) -> Iterator[Planned]:
    for name, question in profile.questions.items():
        for cell in question.cells:
            for variant, seeds in planned(profile, cell, question.seeds).items():
                yield Planned(name, cell, variant, seeds, run_ids(profile, cell, variant, seeds))


def left_out(entry: Planned, recorded: set[str]) -> list[int]:
    """The seeds of a planned variant that are not recorded."""
    return [seed for seed in entry.seeds if entry.ids.get(seed) not in recorded]
