"""Live runs beside recorded ones."""

from __future__ import annotations

import pytest

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.report.live import agreements
from transrec_core.report.sentences import agreement_sentence
from transrec_core.report.tables import agreement_table


def trained(method, hits, seeds=1, **facts):
    return exact(method, hits, seeds, train_seconds=1.0, **facts)


def test_a_live_figure_agrees_by_its_ranks_and_by_the_recorded_interval():
    recorded = {
        CELL: runs_of(
            full=trained("full", band(0, 30), 3, ranks_sha256="a"),
            houlsby=trained("houlsby", band(0, 30), ranks_sha256="b"),
            lora=trained("lora", band(0, 30), ranks_sha256="c"),
            popularity=exact("popularity", band(0, 30), 1),
        )
    }
    live = {
        CELL.model_copy(update={"methods": ("full",)}): runs_of(  # the same cell by name
            full=trained("full", band(0, 30), 1, ranks_sha256="a"),
            houlsby=trained("houlsby", band(0, 50), ranks_sha256="other"),
            lora=[r for r in trained("lora", band(0, 31), 4) if r.spec.seed == 4],
            head=trained("head", band(0, 30)),  # not recorded
            popularity=exact("popularity", band(0, 30), 1),  # nothing was trained
        )
    }
    rows = agreements(live, recorded)
    assert [(a.variant.method, a.same_ranks, a.inside) for a in rows] == [
        ("full", True, True),
        ("houlsby", False, False),
        ("lora", None, True),
    ]
    assert rows[1].live == pytest.approx(0.5) and rows[1].recorded.mean == pytest.approx(0.3)
    table = agreement_table(rows)
    assert list(table["same run again"]) == ["equal ranks", "ranks differ", "not recorded"]
    assert list(table["inside"]) == ["yes", "no", "yes"]
    sentence = agreement_sentence(rows, "laptop")
    assert sentence.startswith("2 of 3 live figures") and "of 2 that repeat recorded runs, 1 have" in sentence
    assert "can't agree" in agreement_sentence(rows, "smoke")
    assert list(agreement_table([]).columns) == list(table.columns)
