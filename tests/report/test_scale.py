"""The arithmetic of scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.made_up import band, exact
from transrec_core.report import scale
from transrec_core.report.stepcosts import Storage


def test_the_arithmetic_of_scale():
    bert = scale.backbone_size("bert-base-uncased")
    assert (bert.width, bert.layers) == (768, 12)
    assert bert.parameters == pytest.approx(12 * 12 * 768**2, rel=0.01)
    plan = scale.Plan(
        users=1000,
        items=100,
        length=10,
        tokens=5,
        batch=100,
        epochs=2,
        flops=1e6,
        devices=4,
        user_parameters=0,
    )
    ways = scale.estimate(plan, scale.BackboneSize(10, 4, 2))
    full = ways["full fine-tuning"]
    assert full.steps == 20 and full.hours == pytest.approx(6 * 10 * 1000 * 10 * 5 * 2 / 1e6 / 3600)
    assert full.devices == 4 and ways["adapters inside"].hours == full.hours * 2 / 3
    assert ways["side network, all layers cached"].cache == pytest.approx(100 * 4 * 2 * 3)
    assert ways["head only, last layer cached"].hours == pytest.approx(2 * 10 * 100 * 5 / 1e6 / 3600)
    table = scale.ways_table(ways).set_index("way")
    assert table.loc["full fine-tuning", "device hours"] == "0.0017"
    assert table.loc["full fine-tuning", "hours on all devices"] == "0.00042"
    assert table.loc["full fine-tuning", "cache (GiB)"] == "0"


def test_rates_of_records_and_of_benchmarks(tmp_path):
    facts = {"seconds_per_step": 2.0, "threads": 1}
    records = exact("full", band(0, 10), seeds=3, **facts) + exact("head", band(0, 10), **facts)
    (rate,) = scale.measured_rates(records, parameters=100, length=10, tokens=5)
    batch = records[0].spec.training.batch_size
    assert rate == scale.Rate("cpu, 1 thread(s), fp32", 6 * 100 * batch * 10 * 5 / 2, 3)
    assert scale.measured_table([rate]).iloc[0]["runs"] == 3
    assert scale.benchmark_rates(Path("nowhere")) == []
    (tmp_path / "a.json").write_text('{"rates": [{"device": "a card", "flops": 2e12}]}')
    (tmp_path / "b.json").write_text("[1]")
    (found,) = scale.benchmark_rates(tmp_path)
    assert found == scale.Rate("a card", 2e12, "a.json")
    assert scale.benchmark_table([found]).iloc[0]["GFLOP/s"] == "2,000"


def test_what_has_to_be_kept_for_several_domains():
    storage = Storage(model=2**30, adapter=2**20)
    assert storage.whole(20) == 20 and storage.shared(1024) == pytest.approx(2)
    table = scale.serving_table(storage, (1.0, 20.0), items=2**20, dim=512)
    assert list(table["whole models (GiB)"]) == ["1.0", "20"]
    assert list(table.iloc[:, -1]) == ["1.0", "20"]
