"""What a step costs: what stays between steps, and models measured in turns."""

from __future__ import annotations

import pytest

from tests import tiny
from transrec_core.base.errors import UserError
from transrec_core.training.costs import measure, standing_bytes
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
