"""Verdicts of a table, the best group and the Pareto set."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.made_up import band, drawn, exact, runs_of
from transrec_core.base.errors import UserError
from transrec_core.report.comparisons import (
    FULL,
    adaptations,
    best_group,
    by_method,
    by_name,
    compare,
    compare_methods,
    pareto,
)
from transrec_core.report.estimates import Comparison, Costs, Estimate, Verdict
from transrec_core.study.profile import Variant


def test_the_best_group_holds_what_cannot_be_told_apart_and_nothing_else():
    records = [
        drawn(m, share, seed)
        for m, share in (("houlsby", 0.30), ("lora", 0.299), ("prompt", 0.22))
        for seed in (1, 2, 3)
    ]
    group = best_group(by_method(records))
    assert group[0].method == "houlsby" and group[0].difference.mean == 0
    assert {c.method: c.in_group for c in group} == {"houlsby": True, "lora": True, "prompt": False}
    fewer = best_group(by_method(drawn(m, s, 1, users=40) for m, s in (("houlsby", 0.30), ("prompt", 0.28))))
    assert {c.method: c.in_group for c in fewer}["prompt"]  # too few users to tell


def test_the_pareto_set_by_hand():
    def one(name: str, trained: float, mean: float) -> Comparison:
        costs = Costs(trained, 100, 1.0, 1.0)
        estimate = Estimate(mean, mean, mean)
        return Comparison(Variant(name), FULL, estimate, None, Verdict.REFERENCE, np.nan, 0.0, costs)

    rows = [("a", 10, 1.0), ("b", 10, 2.0), ("c", 20, 1.5), ("d", 30, 3.0), ("e", 40, 3.0), ("none", 0, 9.0)]
    front = pareto(one(*row) for row in (*rows, ("unknown", np.nan, 9.0)))
    assert [c.method for c in front] == ["b", "d"]


def test_half_the_users_turn_a_verdict_of_the_table_into_undecided():
    """30 of 100 users are hits; four of them, and four others, differ between the methods: within 3 % of
    30 %, if there are enough users.
    """
    for users, expected in ((4000, Verdict.COMPARABLE), (2000, Verdict.UNDECIDED)):
        runs = runs_of(full=exact("full", band(0, 30, users)), houlsby=exact("houlsby", band(4, 30, users)))
        compared = by_name(compare(runs))
        assert {m: c.verdict for m, c in compared.items()} == {"full": "reference", "houlsby": expected}
        assert compared["houlsby"].gap.mean == pytest.approx(0, abs=1e-8)
        assert compared["full"].quality.mean == pytest.approx(0.30)
        assert compared["full"].difference is None and np.isnan(compared["full"].detectable)


@pytest.mark.slow
def test_a_verdict_on_what_trains_needs_seeds_on_both_sides():
    runs = runs_of(
        full=exact("full", band(0, 30)),
        head=exact("head", band(0, 20), seeds=2),
        scratch=exact("scratch", band(0, 20)),
        popularity=exact("popularity", band(0, 10), seeds=1),
    )
    compared = by_name(compare_methods(runs))
    assert list(compared) == ["full", "head", "scratch", "popularity"]
    assert {m: c.verdict for m, c in compared.items() if m != "full"} == {
        "head": Verdict.FEW_SEEDS,
        "scratch": Verdict.WORSE,
        "popularity": Verdict.WORSE,  # nothing random is in it, so that one run is enough
    }
    head = compared["head"]
    assert (head.quality.seeds, head.gap.seeds) == (2, 2)  # of the three, those that both have
    few = compare_methods({**runs, FULL: runs[FULL][:2]})
    assert {c.verdict for c in few} == {Verdict.REFERENCE, Verdict.FEW_SEEDS}
    assert by_name(compare(runs))["head"].verdict == Verdict.WORSE  # where nobody asks for seeds


def test_runs_without_a_seed_in_common_are_no_pair():
    full = exact("full", band(0, 30), seeds=4)
    with pytest.raises(UserError, match="houlsby and full have no seed in common"):
        compare(runs_of(full=full[:2], houlsby=exact("houlsby", band(0, 30), seeds=5)[2:]))


def test_the_margin_is_a_share_of_full_fine_tuning_at_the_same_level():
    at = Variant("full", (("target share", "10 %"),))
    base, changed = Variant("houlsby"), Variant("houlsby", (("form", "parallel"),))
    runs = {
        FULL: exact("full", band(0, 40)),
        at: exact("full", band(0, 10)),
        base: exact("houlsby", band(0, 20)),
        changed: exact("houlsby", band(0, 22)),
    }
    compared = compare(runs, base, [changed])
    assert [c.variant for c in compared] == [base, changed] and compared[1].verdict == Verdict.BETTER
    assert compared[1].margin == pytest.approx(0.03 * 0.40) and compared[1].reference == base
    assert compare(runs, at, [base])[1].margin == pytest.approx(0.03 * 0.10)
    without = {v: r for v, r in runs.items() if v.method != "full"}
    assert compare(without, base, [changed])[1].margin == pytest.approx(0.03 * 0.20)


def test_costs_are_means_over_seeds_and_unknown_for_controls():
    runs = runs_of(
        full=exact("full", band(0, 30), trainable_parameters=100, train_seconds=2.0),
        head=exact("head", band(0, 20), trainable_parameters=3, train_seconds=1.0),
        popularity=exact("popularity", band(0, 10), seeds=1),
    )
    compared = by_name(compare(runs))
    assert compared["head"].costs.trained == 3 and compared["full"].costs.seconds == 2
    assert np.isnan([compared["popularity"].costs.trained, compared["full"].costs.memory]).all()
    assert [c.method for c in adaptations(compared.values())] == ["full", "head"]
