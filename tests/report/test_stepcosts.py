"""What a step costs, kept from one page to another; what has to be stored."""

from __future__ import annotations

import pytest

from tests.report.made_up import CELL, band, exact, runs_of
from transrec_core.report.comparisons import compare
from transrec_core.report.stepcosts import (
    StepCost,
    Storage,
    cost_table,
    measured,
    read_costs,
    storage_table,
    write_costs,
)
from transrec_core.study.grids import load_profile
from transrec_core.study.store import Store

COSTS = {"full": StepCost(0.2, 20.0, 4096), "houlsby": StepCost(0.1, 15.0, 1024), "lora": StepCost(1, 1, 1)}


def test_costs_are_kept_by_cell_and_method(tmp_path):
    write_costs(tmp_path / "costs.json", {CELL: COSTS})
    assert read_costs(tmp_path / "costs.json") == {CELL.name: COSTS}
    assert read_costs(tmp_path / "none.json") == {}


def test_costs_stand_beside_what_was_reached():
    runs = runs_of(
        houlsby=exact("houlsby", band(0, 25), trainable_parameters=100),
        full=exact("full", band(0, 30), trainable_parameters=1000),
        head=exact("head", band(0, 10), trainable_parameters=10),
    )
    table = cost_table(compare(runs), COSTS).set_index("method")
    assert list(table.index) == ["full fine-tuning", "Houlsby"]  # in one order; what both know
    row = table.loc["Houlsby"]
    assert (row["of full (%)"], row["step (ms)"], row["step / full"]) == ("10.0", "100.0", "0.50")
    assert (row["peak memory (MiB)"], row["on disk (KiB)"]) == ("15.0", "1")


def test_storage_by_the_number_of_domains():
    storage = Storage(model=2**30, adapter=2**28)
    table = storage_table(storage, (1, 4))
    assert table.iloc[1].to_dict() == {
        "domains": 4,
        "full fine-tuning (GiB)": "4.00",
        "one backbone and adapters (GiB)": "2.00",
        "ratio": "2.0",
    }
    bert = Storage.of("bert-base-uncased", "houlsby")
    assert bert.model > 40 * bert.adapter > 0


@pytest.mark.slow
def test_steps_are_measured_for_each_method_of_a_cell(tmp_path):
    profile = load_profile("laptop")  # its source models ship
    cell = profile.question("rq1").cells[0].model_copy(update={"methods": ("full", "houlsby", "head")})
    costs = measured(profile, cell, 1, Store(tmp_path))
    assert list(costs) == ["full", "houlsby", "head"]
    assert all(cost.seconds > 0 and cost.memory > 0 for cost in costs.values())
    assert costs["full"].bytes > costs["houlsby"].bytes > costs["head"].bytes > 0
