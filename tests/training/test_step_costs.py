"""What a training step costs: time in turns, and the most memory that it takes."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.training.costs import measure, peak_bytes
from transrec_core.training.spec import TrainSpec


@pytest.mark.slow
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
