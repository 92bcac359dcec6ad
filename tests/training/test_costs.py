"""What a training step costs: time in turns, the most memory that it takes, and what stays between steps."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.training.costs import measure, peak_bytes, standing_bytes
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import Trainer


def head_only():
    model = tiny.model()
    model.requires_grad_(False)
    model.item_encoder.projection.requires_grad_(True)
    return model


@pytest.mark.parametrize("make", [tiny.model, head_only])
def test_what_stays_between_steps_is_weights_and_both_moments(make):
    model = make()
    trainer = Trainer(model, tiny.domain("text"), TrainSpec(batch_size=16))
    trainer.step()
    tensors = [*model.parameters()]
    for state in trainer.optimizer.state.values():
        tensors += [state["exp_avg"], state["exp_avg_sq"]]
    assert standing_bytes(model) == sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_every_model_takes_the_same_number_of_steps(monkeypatch):
    steps = []
    plain = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda self: steps.append(self.model) or plain(self))
    models = {"full": tiny.model(), "head": head_only()}
    frame = measure(models, tiny.domain("text"), TrainSpec(batch_size=16), rounds=2, steps=2)
    assert frame["method"].tolist() == ["full", "head"]
    warm = [model for model in models.values() for _ in range(3)]  # Adam's moments, and the peak
    assert steps == warm + 2 * [model for model in models.values() for _ in range(2)]
    assert (frame["memory"] - frame["step"]).tolist() == pytest.approx(
        [standing_bytes(model) / 2**20 for model in models.values()]
    )


def test_a_model_that_trains_nothing_has_no_step():
    model = tiny.model().requires_grad_(False)
    with pytest.raises(UserError, match="nothing to train"):
        measure({"frozen": model}, tiny.domain("text"), TrainSpec())


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
