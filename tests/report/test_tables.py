"""What pages compute from records: verdicts, the best group, the Pareto set, costs of a step; and the
records that ship.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.adapters.drawing import DRAWINGS, draw
from transrec_core.report import tables as report
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.record import Record
from transrec_core.study.specs import RunSpec
from transrec_core.study.store import Store
from transrec_core.training.costs import measure, peak_bytes
from transrec_core.training.spec import TrainSpec


def record(method: str, share: float, seed: int, users: int = 4000) -> Record:
    """A record whose HR@10 is about ``share``; users are the same coin tosses for all methods."""
    luck = np.random.default_rng(7).random(users) + 0.01 * np.random.default_rng(
        seed + 100 * list(METHODS).index(method)
    ).normal(size=users)
    spec = RunSpec(strategy="adapter", adapter=AdapterConfig(method=method), seed=seed)
    return Record(spec, {"id": f"{method}{seed}"}, np.where(luck < share, 1, 50))


def test_the_best_group_holds_what_cannot_be_told_apart_and_nothing_else():
    records = [
        record(m, share, seed)
        for m, share in (("houlsby", 0.30), ("lora", 0.299), ("prompt", 0.22))
        for seed in (1, 2, 3)
    ]
    frame = report.best_group(records).set_index("method")
    assert frame.index[0] == "houlsby" and frame["in group"].to_dict() == {
        "houlsby": True,
        "lora": True,
        "prompt": False,
    }
    fewer = report.best_group(
        [record(m, s, 1, users=40) for m, s in (("houlsby", 0.30), ("prompt", 0.28))]
    ).set_index("method")
    assert fewer.loc["prompt", "in group"]  # too few users to tell


def test_the_pareto_set_by_hand():
    rows = [("a", 10, 1.0), ("b", 10, 2.0), ("c", 20, 1.5), ("d", 30, 3.0), ("e", 40, 3.0), ("none", 0, 9.0)]
    frame = pd.DataFrame(rows, columns=["method", "trained", "quality"])
    assert report.pareto(frame) == ["b", "d"]


def test_costs_of_a_step():
    """Peak memory is exact and repeatable; the head alone takes least. Options that trade time for memory
    do.
    """
    models = {}
    for method in ("full", "houlsby", "side", "head"):
        models[method] = tiny.model("bert")
        if method in METHODS:
            models[method].add_adapter("a", AdapterConfig(method=method, encoders="item", item_size=8))
            models[method].train_adapter("a")
        elif method == "head":
            models[method].requires_grad_(False)
            models[method].item_encoder.projection.requires_grad_(True)
    frame = measure(models, tiny.domain("text"), TrainSpec(batch_size=16), rounds=2, steps=1).set_index(
        "method"
    )
    assert (frame["seconds"] > 0).all() and (frame["low"] <= frame["high"]).all()
    assert frame["step"].idxmax() == "full" and frame["step"].idxmin() == "head"
    assert frame.loc["houlsby", "step"] > frame.loc["side", "step"]
    assert (frame["memory"] > frame["step"]).all()
    again = measure(models, tiny.domain("text"), TrainSpec(batch_size=16), rounds=1, steps=1).set_index(
        "method"
    )
    assert frame["step"].to_numpy() == pytest.approx(again["step"].to_numpy(), rel=0.02)
    few = {"full": models["full"]}
    for option in ({"checkpointing": True}, {"accumulate": 4}):
        less = measure(
            few, tiny.domain("text"), TrainSpec(batch_size=16, **option), rounds=1, steps=1
        ).set_index("method")
        assert less.loc["full", "step"] < frame.loc["full", "step"]


def test_peak_bytes_by_hand():
    def known() -> None:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # 8,000
        del a
        c = torch.zeros(500)  # 6,000
        del b, c

    assert peak_bytes(known) == pytest.approx(8000, abs=200)


def test_every_method_is_drawn_and_named():
    import xml.etree.ElementTree as ElementTree

    assert set(DRAWINGS) == set(METHODS) <= set(report.NAMES)
    for method in METHODS:
        svg = ElementTree.fromstring(draw(method))
        assert svg.attrib["role"] == "img" and svg.attrib["aria-label"]
    assert draw("unheard of") == ""


def test_half_the_users_turn_a_verdict_of_the_table_into_undecided():
    """30 of 100 users are hits; four of them, and four others, differ between the methods: within 3 % of
    30 %, if there are enough users.
    """

    def of(method: str, first: int, users: int, seed: int) -> Record:
        adapter = (
            {"strategy": "adapter", "adapter": AdapterConfig(method=method)}
            if method in METHODS
            else {"strategy": method}
        )
        place = np.arange(users) % 100 - first
        return Record(
            RunSpec(seed=seed, **adapter),
            {"id": f"{method}{seed}"},
            np.where((place >= 0) & (place < 30), 3, 50),
        )

    for users, expected in ((4000, "comparable"), (2000, "undecided")):
        records = [
            of(method, first, users, seed)
            for method, first in (("full", 0), ("houlsby", 4))
            for seed in (1, 2, 3)
        ]
        frame = report.summary(records).set_index("method")
        assert frame["verdict"].to_dict() == {"full": "reference", "houlsby": expected}
        assert frame.loc["houlsby", "difference"] == pytest.approx(0, abs=1e-6) and frame.loc[
            "full", "quality"
        ] == pytest.approx(30)


def test_the_recorded_runs_are_whole_and_are_those_of_the_profile():
    store, profile = Store("results/study"), load_profile("study")
    plan = {name: question_specs(profile, profile.question(name)) for name in profile.questions}
    recorded = {found.id: found for found in store.all()}  # reading checks the checksums
    assert recorded and set(recorded) <= set().union(*plan.values())
    for found in plan.values():
        data: dict[str, set[str]] = {}
        for run_id, (cell, _, spec) in found.items():
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
