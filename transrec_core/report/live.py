"""Live runs beside recorded ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from transrec_core.evaluation.statistics import hits, interval
from transrec_core.report.names import NAMES
from transrec_core.report.variants import Groups, _span, groups, said
from transrec_core.study.profile import Cell, Profile, Question, Variant
from transrec_core.study.record import ranks_by_seed
from transrec_core.study.store import Store


def agreement(
    live: Mapping[Cell, Groups], recorded: Mapping[Cell, Groups], methods_only: bool = False
) -> pd.DataFrame:
    """Live runs beside recorded ones: whether the same run gave the same ranks, and whether the live
    figure lies in the recorded interval.
    """
    rows = []
    by_name = {cell.name: found for cell, found in recorded.items()}
    for cell, found in live.items():
        for variant, now in found.items():
            then = by_name.get(cell.name, {}).get(variant)
            if then is None or (methods_only and variant.levels) or "train_seconds" not in now[0].facts:
                continue
            figure = 100 * float(np.mean([r.metrics["HR@10"] for r in now]))
            past = {r.id: r for r in then}
            same = [r.same_ranks(past[r.id]) for r in now if r.id in past]
            spread = interval(hits(ranks_by_seed(then)))
            rows.append(
                {
                    "cell": cell.title,
                    "what": NAMES.get(variant.method, variant.method)
                    + (f", {said(variant)}" if variant.levels else ""),
                    "live HR@10 (%)": f"{figure:.2f}",
                    "recorded HR@10 (%) [95 %]": _span(
                        100 * spread.mean, 100 * spread.low, 100 * spread.high
                    ),
                    "same run again": "not recorded"
                    if not same
                    else "equal ranks"
                    if all(same)
                    else "ranks differ",
                    "inside": "yes" if 100 * spread.low <= figure <= 100 * spread.high else "no",
                }
            )
    return pd.DataFrame(
        rows,
        columns=["cell", "what", "live HR@10 (%)", "recorded HR@10 (%) [95 %]", "same run again", "inside"],
    )


def live_and_recorded(
    question: str, profile: Profile, asked: Question, live: Store, recorded_profile: Profile, shelf: Store
) -> tuple[dict[Cell, Groups], dict[Cell, Groups], dict[Cell, list[Variant]]]:
    """Groups of the live cells, of the recorded cells, and what the recorded ones lack."""
    now = {cell: groups(profile, cell, asked.seeds, live)[0] for cell in asked.cells}
    then, missing = {}, {}
    past = recorded_profile.question(question)
    for cell in past.cells:
        then[cell], missing[cell] = groups(recorded_profile, cell, past.seeds, shelf)
    return now, then, missing
