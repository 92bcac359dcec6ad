"""Live runs beside recorded ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from transrec_core.report.comparisons import Runs
from transrec_core.report.estimates import Estimate, quality
from transrec_core.report.variants import cell_runs, question_runs
from transrec_core.study.grids import load_profile
from transrec_core.study.profile import Cell, Profile, Question, Variant
from transrec_core.study.store import Store

#: What ships of the embedded world: the profile and the folder of its records.
SHIPPED, SHELF = "study", Path("results/study")


class LiveAndRecorded(NamedTuple):
    """The cells of a question, as they were run now and as they ship.

    Attributes:
        live: runs of the live profile by cell.
        recorded: runs that ship by cell.
        missing: what is planned and does not ship, by cell.
    """

    live: dict[Cell, Runs]
    recorded: dict[Cell, Runs]
    missing: dict[Cell, list[Variant]]


def live_and_recorded(name: str, profile: Profile, question: Question, store: Store) -> LiveAndRecorded:
    """Reads both.

    Args:
        name: of the question ("rq1").
        profile: of the live runs.
        question: the live question, whose seeds may be shifted.
        store: of the live runs.
    """
    shipped, shelf = load_profile(SHIPPED), Store(SHELF)
    recorded, missing = {}, {}
    for cell in shipped.question(name).cells:
        recorded[cell], missing[cell] = cell_runs(shipped, cell, shipped.question(name).seeds, shelf)
    return LiveAndRecorded(question_runs(profile, question, store), recorded, missing)


@dataclass(frozen=True)
class Agreement:
    """A live figure beside the recorded one.

    Attributes:
        cell: where both were run.
        variant: what was run.
        live: HR@10 of the live runs, a share.
        recorded: HR@10 of the recorded ones.
        same_ranks: whether all live runs that repeat recorded ones have exactly their ranks; None if none
            repeats one.
    """

    cell: Cell
    variant: Variant
    live: float
    recorded: Estimate
    same_ranks: bool | None

    @property
    def inside(self) -> bool:
        """Whether the live figure lies in the recorded interval."""
        return self.live in self.recorded


def agreements(live: Mapping[Cell, Runs], recorded: Mapping[Cell, Runs]) -> list[Agreement]:
    """All that was trained live and is recorded, beside each other."""
    shipped = {cell.name: runs for cell, runs in recorded.items()}
    rows = []
    for cell, runs in live.items():
        for variant, now in runs.items():
            then = shipped.get(cell.name, {}).get(variant)
            if then is None or "train_seconds" not in now[0].facts:
                continue
            past = {r.id: r for r in then}
            same = [r.same_ranks(past[r.id]) for r in now if r.id in past]
            figure = float(np.mean([r.metrics["HR@10"] for r in now]))
            rows.append(Agreement(cell, variant, figure, quality(then), all(same) if same else None))
    return rows
