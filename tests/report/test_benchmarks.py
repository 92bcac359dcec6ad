"""What the commands of benchmarks/ wrote, on the pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pytest

from transrec_core.report import benchmarks, reliability

SHIPPED = Path("results/benchmarks")


def test_goals_and_notes():
    gain = benchmarks.Gain(
        "step", "a step", "the old way", 10.0, 2.0, "s", 5.0, 4.0, 6.0, 3, 8.0, False, "it is what it is"
    )
    bench = benchmarks.Benchmark(
        (gain, replace(gain, ratio=1234.5, pairs=1, reached=True, note="")), {}, {}, {}, "x", 1.0
    )
    table = benchmarks.gains_table(bench)
    assert list(table["what"]) == ["1. a step", "2. a step"]
    assert list(table["ratio [least, most]"]) == ["5 [4, 6]", "1,234"]
    assert list(table["goal"]) == ["8: missed", "8: reached"]
    notes = benchmarks.gain_notes(bench)
    assert notes == ["1. Against: the old way, 3 pairs. It is what it is.", "2. Against: the old way."]
    sentence = benchmarks.goals_sentence(bench)
    assert sentence == "1 of 2 goals were reached. Missed: a step (5 instead of 8; why is in note 1)."


def test_what_ships_is_shown():
    bench = benchmarks.read_benchmark(SHIPPED / "costs.json")
    figure = benchmarks.plot_step(bench)
    assert len(figure.axes[0].patches) == len(benchmarks.PARTS) * len(bench.step)
    plt.close(figure)
    assert f"titles of {bench.titles}" in benchmarks.step_sentence(bench)
    assert len(benchmarks.gains_table(bench)) == len(bench.rows)
    assert len(benchmarks.ranking_table(bench)) == len(bench.ranking)
    others = benchmarks.read_others(SHIPPED / "others.json")
    assert len(benchmarks.others_notes(others)) == len(others) >= len(benchmarks.others_table(others))
    assert benchmarks.read_others(SHIPPED / "none.json") == []
    assert benchmarks.read_gpu(SHIPPED / "none.json") is None


def test_a_gpu_s_rows():
    row = {"method": "full", "seconds": 0.5, "tokens a second": 1e6, "peak GB": 3.25, "waits in a step": 0}
    rows = [row | {"share of matrix rate": 0.4}, row | {"share of matrix rate": None}]
    table = benchmarks.gpu_table({"rows": rows})
    assert (
        list(table["of the matrix rate (%)"]) == ["40", ""]
        and table.iloc[0]["tokens a second"] == "1,000,000"
    )


def test_survival_and_calibration():
    survival = reliability.read_survival(SHIPPED / "survival.json")
    assert survival.kills > 0 and survival.completed > 0
    table = survival.table()
    counts = table.drop(columns="what").map(type).stack().unique()
    assert set(counts) <= {int, str} and len(table) == len(survival.rows)
    calibration = reliability.read_calibration(SHIPPED / "calibration.json")
    assert calibration.sentence().startswith("Coverage ranges from ")
    rows = calibration.rows.copy()
    rows.loc[rows["seeds"] == 2, reliability.FAMILIES] = 8.0
    assert replace(calibration, rows=rows).sentence().endswith("recorded runs have five.")
    rows[reliability.FAMILIES] = 5.0
    assert replace(calibration, rows=rows).sentence().endswith("5.0 % with any other number.")


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (12.345, "12.3"), (12345.6, "12,346")])
def test_three_figures_say_enough(value, text):
    assert benchmarks.short(value) == text
