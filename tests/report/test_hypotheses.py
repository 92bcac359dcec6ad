"""What became of a hypothesis, and what is to be noticed before methods are ranked."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.evaluation.cold import packed_bits
from transrec_core.report.cold import by_targets, cold_cases, compare_cold, median_cold_rank
from transrec_core.report.estimates import Verdict
from transrec_core.report.hypotheses import COLD, judge, notes
from transrec_core.report.sentences import cold_line
from transrec_core.report.tables import hypotheses_table

USERS = 2000
MASK = np.arange(USERS) % 5 == 0
BITS = {"cold": packed_bits(MASK)}


def test_a_hypothesis_holds_or_not_or_is_open():
    runs = runs_of(
        full=exact("full", band(0, 30), **BITS),
        houlsby=exact("houlsby", band(0, 20)),
        scratch=exact("scratch", band(0, 20)),
        item_id=exact("item_id", band(0, 30) & ~MASK, **BITS),
    )
    judged = judge(runs)
    assert [h.outcome for h in judged.values()] == ["does not hold", "holds", "not run", "holds"]
    texts = hypotheses_table({CELL: judged}).iloc[0]
    assert texts.iloc[1].startswith("does not hold: worse, -10.0 points [-") and texts.iloc[3] == "not run"
    few = judge({v: r[:2] for v, r in runs.items()})
    assert {h.outcome for h in few.values()} == {"open", "not run"}
    assert few[COLD].verdict == Verdict.FEW_SEEDS


def test_cold_targets_alone():
    full, ids = exact("full", band(0, 30), **BITS), exact("item_id", band(0, 30) & ~MASK, **BITS)
    cold = compare_cold(runs_of(full=full, item_id=ids))
    assert cold.verdict == "better" and cold.difference.mean == pytest.approx(0.30)
    assert cold.difference.cases == MASK.sum() == cold_cases(full[0]).sum()
    assert "**better**" in cold_line(CELL, cold)
    none = compare_cold(runs_of(full=exact("full", band(0, 30) & ~MASK, **BITS), item_id=ids))
    assert none.verdict is None and "hits one of the 400 cold targets" in none.reason
    unknown = compare_cold(runs_of(full=exact("full", band(0, 30)), item_id=ids))
    assert "do not say" in unknown.reason and cold_line(CELL, unknown).endswith(f"{unknown.reason}.")
    assert compare_cold(runs_of(full=full)) is None and cold_line(CELL, None) == ""
    assert compare_cold(runs_of(full=full, item_id=ids[:1])) is None


def test_quality_by_kind_of_target():
    records = exact("full", band(0, 30), cold_median_rank=50.0, **BITS)
    parts = by_targets({"it": records, "unknown": exact("head", band(0, 30))})
    assert list(parts) == ["it"] and list(parts["it"]) == ["all", "warm", "cold"]
    assert parts["it"]["warm"].cases + parts["it"]["cold"].cases == parts["it"]["all"].cases == USERS
    warm = exact("full", band(0, 30), cold=packed_bits(np.zeros(USERS, dtype=bool)))
    assert list(by_targets({"it": warm})["it"]) == ["all", "warm"]
    other = exact("full", band(0, 30), seeds=1, cold=packed_bits(~MASK))
    assert by_targets({"it": [*records, *other]}) == {}  # seeds with other users
    assert median_cold_rank(records) == 50.0 and median_cold_rank(other) is None


def test_what_is_noticed_about_a_cell():
    steps = exact("full", band(0, 30))[0].spec.training.steps
    runs = runs_of(
        full=exact("full", band(0, 30), best_step=steps),
        houlsby=exact("houlsby", band(0, 9), best_step=0),
        head=exact("head", band(0, 12), best_step=50),
        frozen=exact("frozen", band(0, 5), seeds=1),
        popularity=exact("popularity", band(0, 10), seeds=1),
    )
    noticed = notes(runs)
    assert noticed.above == ("full", "head") and noticed.below == ("houlsby", "frozen")
    assert noticed.late == ("full",) and noticed.flat == ("houlsby",)
    alone = notes({v: r for v, r in runs.items() if v.method != "popularity"})
    assert alone.above == alone.below == ()
