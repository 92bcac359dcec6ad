"""Comparisons as tables, for pages and as plain text."""

from __future__ import annotations

import re

import pytest

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.report.comparisons import FULL, compare
from transrec_core.report.guidance import Advice, choice, effects
from transrec_core.report.names import NAMES
from transrec_core.report.plain import plain_table
from transrec_core.report.tables import (
    advice_table,
    comparison_table,
    effects_table,
    factor_table,
    verdict_table,
)
from transrec_core.report.variants import BASE_POINT
from transrec_core.study.profile import Variant

COSTS = {"trainable_parameters": 1234, "train_seconds": 9.25, "peak_memory_mb": 512.4}
RUNS = runs_of(
    full=exact("full", band(0, 30), **COSTS),
    houlsby=exact("houlsby", band(0, 25), **COSTS),
    popularity=exact("popularity", band(0, 10), seeds=1),
)
SMALL = Variant("houlsby", (("size", "4/2"),))


def test_a_table_names_units_and_leaves_blank_what_is_unknown():
    table = comparison_table(compare(RUNS)).set_index("method")
    assert list(table.index) == ["full fine-tuning", "Houlsby", "popularity"]
    full, houlsby, popularity = (table.loc[name] for name in table.index)
    assert full["HR@10 (%) [95 %]"].startswith("30.0 [") and full["minus full (points) [95 %]"] == ""
    assert (full["verdict"], full["detectable (points)"]) == ("reference", "–")
    assert houlsby["minus full (points) [95 %]"].startswith("-5.0 [-") and houlsby["verdict"] == "worse"
    assert (houlsby["trained parameters"], houlsby["training (s)"]) == ("1,234", "9.2")
    assert (houlsby["memory (MiB)"], popularity["memory (MiB)"]) == ("512", "–")
    short = comparison_table(compare(RUNS, k=3), k=3, costs=False)
    assert "HR@3 (%) [95 %]" in short.columns and "training (s)" not in short.columns


def test_changes_of_a_base_point():
    runs = {**RUNS, SMALL: exact("houlsby", band(0, 20), trainable_parameters=617)}
    compared = compare(runs, BASE_POINT, [SMALL, FULL])
    table = factor_table(compared)
    assert list(table["factor"]) == ["base point", "size", ""]
    assert list(table["level"]) == ["Houlsby", "4/2", "full fine-tuning"]
    assert list(table["of base"]) == ["1.00", "0.50", "1.00"]
    changes = effects_table({CELL: effects(compared)}).set_index("effect")
    assert changes.loc["worse"].iloc[1].startswith("size: 4/2 (-5.0 [") and changes.shape == (3, 3)
    assert changes.loc["better"].iloc[1] == "none seen"


def test_advice_names_its_evidence():
    (row,) = advice_table([Advice("few users", choice({"full": RUNS[FULL]}), "real")]).to_dict("records")
    assert (row["given"], row["use"]) == ("few users", NAMES["full"])
    assert row["evidence"].startswith("HR@10 30.0 % [") and row["evidence"].endswith("runs: 3, real")
    assert row["not to be told from the best"] == "–"


def test_the_verdicts_of_a_study_as_text():
    at = (("target share", "10 %"),)
    runs = {
        **RUNS,
        Variant("full", at): exact("full", band(0, 10)),
        Variant("houlsby", at): exact("houlsby", band(0, 15)),
        SMALL: exact("houlsby", band(0, 20)),
    }
    title, head, *lines = verdict_table({CELL: runs}).splitlines()
    assert title == "Informative titles, SASRec objective"
    assert head.split()[:2] == ["method", "seeds"] and head.endswith("detectable  verdict")
    rows = [re.split("  +", line) for line in lines]
    assert [(row[0], row[-1]) for row in rows] == [
        ("full fine-tuning", "reference"),
        ("Houlsby", "worse"),
        ("popularity", "worse"),
        ("full fine-tuning, target share: 10 %", "reference"),
        ("Houlsby, target share: 10 %", "better"),  # than full fine-tuning at the same share
        ("Houlsby, size: 4/2", "worse"),  # than Houlsby itself
    ]
    assert [row[3] for row in rows if row[-1] != "reference"] == [
        "full fine-tuning",
        "full fine-tuning",
        "full fine-tuning, target share: 10 %",
        "Houlsby",
    ]
    assert rows[0][2].startswith("30.0 [") and rows[1][4].startswith("-5.0 [")
    assert rows[-1][4].startswith("-5.0 [") and float(rows[-1][5]) > 0


def test_the_verdicts_of_records_and_of_what_is_not_complete():
    records = [record for group in RUNS.values() for record in group]
    text = verdict_table(records)
    assert text.splitlines()[0].startswith("method ") and "worse" in text
    few = verdict_table([record for record in records if record.spec.seed == 1])
    assert few.count("too few seeds") == 2  # popularity as well: full fine-tuning has one seed only
    without = {CELL: {v: r for v, r in RUNS.items() if v != FULL}}
    assert verdict_table(without).splitlines()[2].endswith("reference")
    assert verdict_table({CELL: {}}).endswith("nothing is recorded yet")


@pytest.mark.parametrize("number", [1, 22])
def test_plain_columns_are_aligned(number):
    text = plain_table([{"a": "x", "b": number, "c": "yes"}, {"a": "long", "b": 5, "c": "no"}])
    assert (
        len(
            {line.find("yes") for line in text.splitlines() if "yes" in line}
            | {text.splitlines()[2].find("no")}
        )
        == 1
    )
