"""What is said of records of real data, whatever part of them is there."""

from __future__ import annotations

import pytest

from transrec_core.report.cold import compare_cold
from transrec_core.report.comparisons import FULL, by_name, compare_methods
from transrec_core.report.evidence import gather
from transrec_core.report.hypotheses import judge, notes
from transrec_core.report.ledger import run_table
from transrec_core.report.sentences import cold_line, control_lines
from transrec_core.report.tables import cold_table, hypotheses_table
from transrec_core.report.worlds import side_by_side
from transrec_core.study.profile import Variant

INSTRUMENTS = "instruments, titles"


@pytest.mark.parametrize("seeds", [(), (1,), (1, 2, 3)])
def test_what_was_planned_and_what_is_recorded(seeds, real, recorded):
    store = recorded("rq1-instruments", set(seeds))
    evidence = gather(real, store)
    table = run_table(evidence).set_index(["question", "cell"])
    first = table.loc[("rq1-instruments", INSTRUMENTS)]
    assert first["planned"] == 5 * 5 + 4
    assert first["recorded"] == len(store.ids()) == 5 * len(seeds) + 4 * (1 in seeds)
    others = table.drop(index=[i for i in table.index if i[1] == INSTRUMENTS])
    assert (others["not run"] == "nothing of it was run").all()
    assert "head only (seeds 4, 5)" in first["not run"] or len(seeds) < 3
    assert len(evidence.cells("rq1")) == bool(seeds)
    assert all(cell.pair == "instruments" for cell, _ in (*evidence.cells("rq2"), *evidence.cells("rq3")))
    assert evidence.recorded == set(store.ids()) <= evidence.planned_ids()
    assert evidence.untuned() == sum(
        entry.cell.pair != "instruments" and not entry.ids for entry in evidence.plan
    )
    assert evidence.complete_questions() == []


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_the_evidence_says_what_is_there_whatever_is_there(seeds, real, recorded):
    enough = len(seeds) >= 3
    ((cell, runs),) = gather(real, recorded("rq1-instruments", set(seeds))).cells("rq1")
    comparisons = compare_methods(runs)
    compared = by_name(comparisons)
    assert compared["full"].quality.seeds == len(seeds)
    expected = {"houlsby": "comparable", "head": "worse", "scratch": "worse"}
    for method, verdict in expected.items():
        assert compared[method].verdict == (verdict if enough else "too few seeds")
    # Controls that nothing random is in need one seed only.
    assert ("too few seeds" in {c.verdict for c in comparisons}) == (not enough)
    noticed = notes(runs)
    assert {"full", "houlsby"} <= set(noticed.above)  # made up: 30 % and 10 %, like popularity
    assert "head" not in noticed.above and "frozen" in noticed.below and "full" in noticed.flat
    assert ("**better**" if enough else "too few seeds") in cold_line(cell, compare_cold(runs))
    (line,) = control_lines({cell: comparisons})
    word = "worse" if enough else "too few seeds"
    assert f"item-ID SASRec is **{word}** (-" in line and f"popularity is **{word}** (-" in line
    held = hypotheses_table({cell: judge(runs)}).iloc[0]
    assert [text.split(":")[0] for text in held[1:]] == ["holds" if enough else "open"] * 4
    cold = cold_table(runs).set_index("method")
    assert cold.loc["item-ID SASRec", "cold: HR@10 (%) [95 %]"].startswith("0.0") and len(cold) == 9
    (row,) = side_by_side({"one": runs}, {"other": runs}, FULL, [Variant("head")])
    assert row.outcome == ("agree" if enough else "can't tell")


def test_a_question_shows_only_what_no_earlier_one_has(real, recorded):
    evidence = gather(real, recorded("rq1-instruments", {1, 2, 3}))
    ((cell, runs),) = evidence.cells("rq1")
    again = evidence._replace(runs={"rq1": {cell: runs}, "rq2": {cell: runs}})
    assert len(again.cells("rq1")) == 1 and again.cells("rq2") == []
    without_full = {v: records for v, records in runs.items() if v != FULL}
    assert evidence._replace(runs={"rq1": {cell: without_full}}).cells("rq1") == []
