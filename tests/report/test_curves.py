"""Quality along an axis, and the difference of two methods there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.report.made_up import CELL, band, exact
from transrec_core.report.comparisons import FULL
from transrec_core.report.curves import Axis, control_levels, curve, pair_curves, share_axis, source_steps
from transrec_core.report.sentences import crossing_lines, share_lines
from transrec_core.report.tables import curve_table, pair_table, source_table
from transrec_core.study.profile import Variant

TARGET = Axis.of_shares("target share", ("50 %", "10 %"), last=1.0)


def at(method: str, level: str) -> Variant:
    return Variant(method, (("target share", level),) if level else ())


RUNS = {
    at("full", ""): exact("full", band(0, 40)),
    at("houlsby", ""): exact("houlsby", band(0, 30)),
    at("full", "10 %"): exact("full", band(0, 10)),
    at("houlsby", "10 %"): exact("houlsby", band(0, 20)),
    at("full", "50 %"): exact("full", band(0, 30)),
    at("houlsby", "50 %"): exact("houlsby", band(1, 30)),
    Variant("popularity"): exact("popularity", band(0, 5), seeds=1),
    Variant("houlsby", (("form", "parallel"),)): exact("houlsby", band(0, 25)),
}


def test_an_axis_has_its_places_in_order_and_the_last_one_unchanged():
    assert TARGET.levels() == {0.1: (("target share", "10 %"),), 0.5: (("target share", "50 %"),), 1.0: ()}
    assert share_axis(RUNS, "target share").places == {"10 %": 0.1, "50 %": 0.5}


def test_a_curve_has_the_methods_that_are_varied_and_nothing_else():
    points = curve(RUNS, TARGET)
    assert [(p.method, p.place) for p in points] == [
        (m, place) for m in ("full", "houlsby") for place in (0.1, 0.5, 1.0)
    ]
    assert [round(p.quality.mean, 2) for p in points[:3]] == [0.1, 0.3, 0.4]
    table = curve_table(points, "share")
    assert list(table.columns) == ["share", "full fine-tuning", "Houlsby"]
    assert list(table["share"]) == ["10", "50", "100"]
    assert curve(RUNS, Axis.of_shares("source share", ("10 %",))) == []
    assert control_levels(RUNS, ("popularity",)) == {"popularity": pytest.approx(0.05)}
    assert control_levels(RUNS, ("popularity", "frozen")) == {}


@pytest.mark.slow
def test_a_pair_is_compared_where_both_and_full_fine_tuning_were_run():
    (pair,) = pair_curves(
        RUNS, TARGET, {"Houlsby minus full": ("houlsby", "full"), "nobody": ("lora", "full")}
    )
    assert [p.verdict for p in pair.points] == ["better", "comparable", "worse"]
    assert [round(p.difference.mean, 2) for p in pair.points] == [0.1, 0.0, -0.1]
    assert pair.points[0].full == pytest.approx(0.10) and pair.crossing.certain
    assert 0.4 < pair.crossing.place < 0.6
    (line,) = crossing_lines([pair])
    assert line.startswith("- *Houlsby minus full*: at ")
    table = pair_table([pair])
    assert list(table["share (%)"]) == ["10", "50", "100"]
    assert table.iloc[0, 1].endswith(" better") and list(pair_table([pair], 1800)["users"])[0] == "180"
    (line,) = share_lines(CELL, [pair])
    assert "(points) by the share of users: 10 %: +10.0 [" in line and line.endswith(" worse")
    without = {v: r for v, r in RUNS.items() if v != at("full", "50 %")}
    assert [p.place for p in pair_curves(without, TARGET, {"x": ("houlsby", "full")})[0].points] == [0.1, 1.0]


def test_steps_of_source_models_by_place(tmp_path):
    axis = Axis.of_shares("source share", ("10 %", "100 %"))
    runs = {Variant("full", (("source share", "10 %"),)): exact("full", band(0, 10))}
    source = runs[Variant("full", (("source share", "10 %"),))][0].spec.source_id()
    assert source_steps(runs, axis, tmp_path / "none.json") == {}
    (tmp_path / "sources.json").write_text(json.dumps({source: {"steps": 1200}}))
    steps = source_steps(runs, axis, tmp_path / "sources.json")
    assert steps == {0.1: "1,200 [1,200, 1,200]"}
    runs[FULL] = exact("full", band(0, 10))
    points = curve(runs, axis)
    pairs = pair_curves(runs, axis, {"nothing": ("full", "full")})
    table = source_table(pairs, points, ("full",), steps)
    assert list(table.iloc[:, -1]) == ["1,200 [1,200, 1,200]"] and np.isscalar(table.iloc[0, 2])
