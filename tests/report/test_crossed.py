"""Factors that were varied together."""

from __future__ import annotations

from tests.report.made_up import CELL, band, exact
from transrec_core.report.crossed import crossed_points, crossed_runs, parallel_gains
from transrec_core.report.sentences import interaction_lines
from transrec_core.report.variants import BASE_POINT
from transrec_core.study.profile import Variant

FORM, FFN, SMALL = ("form", "parallel"), ("position", "ffn"), ("size", "4/2")


def variant(*levels: tuple[str, str]) -> Variant:
    return Variant(BASE_POINT.method, levels)


RUNS = {
    variant(): exact("houlsby", band(0, 20)),
    variant(FORM): exact("houlsby", band(0, 22)),
    variant(FFN): exact("houlsby", band(0, 15)),
    variant(FFN, FORM): exact("houlsby", band(0, 30)),
    variant(SMALL): exact("houlsby", band(0, 10)),
    variant(FORM, SMALL): exact("houlsby", band(0, 12)),
    variant(("activation", "relu")): exact("houlsby", band(0, 12)),
    Variant("full"): exact("full", band(0, 12)),
}


def test_only_what_is_crossed_is_drawn():
    points = crossed_points(crossed_runs(RUNS))
    assert [(p.position, p.form, p.size) for p in points] == [
        ("behind both", "parallel", 4),
        ("behind both", "parallel", 16),
        ("behind both", "serial", 4),
        ("behind both", "serial", 16),
        ("behind feed-forward only", "parallel", 16),
        ("behind feed-forward only", "serial", 16),
    ]


def test_a_gain_is_compared_with_the_base_point_s():
    gains = {gain.place: gain for gain in parallel_gains(RUNS)}
    assert {place: round(g.gain.mean, 2) for place, g in gains.items()} == {
        "base point": 0.02,
        "position: behind feed-forward only": 0.15,
        "size: 4/2": 0.02,
    }
    assert gains["base point"].extra is None
    assert gains["position: behind feed-forward only"].verdict == "better"
    assert gains["size: 4/2"].verdict == "undecided"
    *lines, last = interaction_lines(list(gains.values()), CELL)
    assert len(lines) == 3 and "position: behind feed-forward only +13.0 [" in last and "4/2" not in last
    alone = {v: r for v, r in RUNS.items() if v in (variant(), variant(FORM))}
    assert len(interaction_lines(parallel_gains(alone), CELL)) == 1
    assert parallel_gains({}) == []
