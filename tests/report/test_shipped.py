"""The records that ship are whole, and are those of the profiles."""

from __future__ import annotations

import pytest

from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.store import Store


@pytest.mark.slow
def test_the_recorded_runs_are_whole_and_are_those_of_the_profile():
    store, profile = Store("results/study"), load_profile("study")
    plan = {name: question_specs(profile, profile.question(name)) for name in profile.questions}
    recorded = {record.id: record for record in store.all()}  # reading checks the checksums
    assert recorded and set(recorded) <= set().union(*plan.values())
    for specs in plan.values():
        data: dict[str, set[str]] = {}
        for run_id, (cell, _, spec) in specs.items():
            if (
                run_id in recorded
                and spec.strategy != "item_id"
                and spec.target.share == spec.source.data.share == 1
            ):
                data.setdefault(cell.name, set()).add(recorded[run_id].facts["data_fingerprint"])
        assert all(len(fingerprints) == 1 for fingerprints in data.values())
    for record in recorded.values():
        assert record.metrics["HR@10"] == pytest.approx((record.ranks <= 10).mean())
        assert len(record.ranks) == record.facts["cases"]


@pytest.mark.slow
def test_what_ships_is_planned_and_whole(real):
    records, damaged = Store("results/real").scan()
    wanted = {run_id for question in real.questions.values() for run_id in question_specs(real, question, {})}
    assert not damaged and {record.id for record in records} <= wanted
    assert all("cold" in record.facts for record in records)
