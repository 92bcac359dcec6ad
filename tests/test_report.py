"""What the RQ2 page computes from records: the best group, the Pareto set, costs of a step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests import tiny
from transrec_core import report
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.costs import measure
from transrec_core.drawings import DRAWINGS, draw
from transrec_core.grids import cell_specs, load_profile
from transrec_core.specs import RunSpec
from transrec_core.store import Record, Store
from transrec_core.training import TrainSpec


def record(method: str, share: float, seed: int, users: int = 4000) -> Record:
    """A record whose HR@10 is about ``share``; users are the same coin tosses for all methods."""
    luck = np.random.default_rng(7).random(users) + 0.01 * np.random.default_rng(seed + 100 * list(METHODS).index(method)).normal(size=users)
    spec = RunSpec(strategy="adapter", adapter=AdapterConfig(method=method), seed=seed)
    return Record(spec, {"id": f"{method}{seed}"}, np.where(luck < share, 1, 50))


def test_the_best_group_holds_what_cannot_be_told_apart_and_nothing_else():
    records = [record(m, share, seed) for m, share in (("houlsby", 0.30), ("lora", 0.299), ("prompt", 0.22)) for seed in (1, 2, 3)]
    frame = report.best_group(records).set_index("method")
    assert frame.index[0] == "houlsby" and frame["in group"].to_dict() == {"houlsby": True, "lora": True, "prompt": False}
    fewer = report.best_group([record(m, s, 1, users=40) for m, s in (("houlsby", 0.30), ("prompt", 0.28))]).set_index("method")
    assert fewer.loc["prompt", "in group"]  # too few users to tell


def test_the_pareto_set_by_hand():
    rows = [("a", 10, 1.0), ("b", 10, 2.0), ("c", 20, 1.5), ("d", 30, 3.0), ("e", 40, 3.0), ("none", 0, 9.0)]
    frame = pd.DataFrame(rows, columns=["method", "trained", "quality"])
    assert report.pareto(frame) == ["b", "d"]


def test_costs_of_a_step():
    """Saved bytes are exact and repeatable; the head alone keeps least, and nothing of the backbone."""
    models = {}
    for method in ("full", "houlsby", "side", "head"):
        models[method] = tiny.model("bert")
        if method in METHODS:
            models[method].add_adapter("a", AdapterConfig(method=method, encoders="item", item_size=8))
            models[method].train_adapter("a")
        elif method == "head":
            models[method].requires_grad_(False)
            models[method].item_encoder.projection.requires_grad_(True)
    frame = measure(models, tiny.domain("text"), TrainSpec(batch_size=16), rounds=2, steps=1).set_index("method")
    assert (frame["seconds"] > 0).all() and (frame["low"] <= frame["high"]).all()
    assert frame["saved"].idxmax() == "full" and frame["saved"].idxmin() == "head"
    assert frame.loc["houlsby", "saved"] > frame.loc["side", "saved"]
    again = measure(models, tiny.domain("text"), TrainSpec(batch_size=16), rounds=1, steps=1).set_index("method")
    assert torch.allclose(torch.tensor(frame["saved"].to_numpy()), torch.tensor(again["saved"].to_numpy()))


def test_every_method_is_drawn_and_named():
    import xml.etree.ElementTree as ElementTree

    assert set(DRAWINGS) == set(METHODS) <= set(report.NAMES)
    for method in METHODS:
        svg = ElementTree.fromstring(draw(method))
        assert svg.attrib["role"] == "img" and svg.attrib["aria-label"]
    assert draw("unheard of") == ""


def test_the_recorded_runs_are_whole_and_are_those_of_the_profile():
    store, profile = Store("results/study"), load_profile("study")
    question = profile.question("rq2")
    wanted = {spec.id() for cell in question.cells for spec in cell_specs(profile, cell, question.seeds)}
    assert {found.id for found in store.all()} == wanted  # reading checks the ranks' checksum
    for cell in question.cells:
        found = [store.read(spec.id()) for spec in cell_specs(profile, cell, question.seeds)]
        assert len({r.facts["data_fingerprint"] for r in found if r.spec.method != "item_id"}) == 1
        assert all(r.metrics["HR@10"] == pytest.approx((r.ranks <= 10).mean()) for r in found)
