"""Worlds disagree only where both are certain."""

from __future__ import annotations

import pytest

from tests.report import made_up
from transrec_core.report.comparisons import FULL
from transrec_core.report.evidence import gather
from transrec_core.report.hypotheses import judge
from transrec_core.report.sentences import world_sentence
from transrec_core.report.tables import controls_table, hypotheses_table, side_by_side_table
from transrec_core.report.worlds import both_worlds, shipped, side_by_side
from transrec_core.study.profile import Variant


@pytest.mark.slow
def test_worlds_disagree_only_where_both_are_certain(real, recorded, monkeypatch):
    sides = []
    for name, level in (("one", 0.30), ("other", 0.2)):
        monkeypatch.setitem(made_up.LEVEL, "houlsby", level)
        evidence = gather(real, recorded("rq1-instruments", {1, 2, 3}, name))
        sides.append({name: evidence.cells("rq1")[0][1]})
    cell = real.question("rq1-instruments").cells[0]
    held = [hypotheses_table({cell: judge(runs)}).iloc[0] for side in sides for runs in side.values()]
    assert [row["H1: Houlsby is comparable"].split(":")[0] for row in held] == ["holds", "does not hold"]
    rows = side_by_side(*sides, FULL, [Variant(m) for m in ("houlsby", "head", "lora")])
    assert {row.what: row.outcome for row in rows} == {"Houlsby": "disagree", "head only": "agree"}
    assert "disagree: Houlsby" in world_sentence(rows) and "Nothing" in world_sentence([])
    table = side_by_side_table(rows).set_index("what")
    assert list(table.columns) == ["one", "other", "embedded and real"]
    assert table.loc["head only", "other"].startswith("worse (-6")


@pytest.mark.slow
def test_shares_are_compared_where_both_worlds_have_them(real, recorded):
    ((cell, runs),) = gather(real, recorded("rq4-target", {1, 2, 3})).cells("rq4-target")
    fewer = {v: r for v, r in runs.items() if v.levels != (("target share", "30 %"),)}
    rows = {row.what: row for row in both_worlds("rq4", {"one": fewer}, {"other": runs})}
    assert len(rows) == 3 * 2  # 10 and 100 %; made up alike at every share
    assert {row.outcome for row in rows.values()} == {"agree"}
    assert rows["adapter minus full, target share 10 %"].effects["one"].verdict == "comparable"
    worse = rows["no source minus full, target share 100 %"].effects["other"]
    assert worse.verdict == "worse" and worse.relative == pytest.approx(-0.33, abs=0.04)
    few = {v: r[:2] for v, r in runs.items()}
    short = both_worlds("rq4", {"one": fewer}, {"other": few})
    assert {row.effects["other"].verdict for row in short} == {"too few seeds"}


@pytest.mark.slow
@pytest.mark.parametrize("question", ["rq1", "rq2", "rq3", "rq4"])
def test_what_ships_can_be_laid_side_by_side(question):
    embedded, real = shipped(question)
    assert embedded and all(name.startswith("embedded, ") for name in embedded)
    table = controls_table(embedded, real).set_index("HR@10 (%)")
    assert list(table.columns) == [*embedded, *real] and (table.loc["full fine-tuning"] != "–").all()
    assert world_sentence(both_worlds(question, embedded, real)).endswith(".")
