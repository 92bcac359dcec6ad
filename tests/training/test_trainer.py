"""Training that improves and stops, step by step or in one call, to the same bits."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.training.deep import deep_model
from transrec_core.base.errors import UserError
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import model_ranks
from transrec_core.training.spec import StepSizes, TrainSpec
from transrec_core.training.trainer import Trainer, fit

LOSSES = ["catalogue", "batch", "bce"]
QUICK = TrainSpec(steps=6, min_steps=0, eval_every=2, batch_size=16, warmup=2)


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_training_lowers_the_loss_and_leaves_the_best_state(loss):
    model, domain = tiny.model(), tiny.domain("text")
    spec = TrainSpec(
        steps=60,
        min_steps=0,
        eval_every=20,
        batch_size=60,
        loss=loss,
        lr=StepSizes(encoder=1e-2, head=1e-2, user=1e-2),
    )
    progress = fit(model, domain, spec, 0, show_progress=False)
    losses = [h["loss"] for h in progress.history if "loss" in h]
    assert losses[-1] < losses[0]
    best = max(progress.history, key=lambda h: h["NDCG@10"])
    assert metrics(model_ranks(model, domain, "valid"))["NDCG@10"] == best["NDCG@10"]
    assert progress.best_step == best["step"]


def equal(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    """Bit by bit."""
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("family", ["bert", "vit"])
@pytest.mark.parametrize("method", [None, "houlsby"])
def test_steps_one_by_one_are_those_of_fit(family, method):
    """Bit by bit, with dropout: validation in between changes nothing."""
    fields = {"method": method, "layers": [2]} if method else {}
    domain, losses, last = tiny.domain(tiny.MODALITY[family]), [], {}
    whole = deep_model(family, dropout=0.3, **fields)

    def at_the_end(progress):
        last.update({name: value.clone() for name, value in whole.state_dict().items()})

    fit(whole, domain, QUICK, 5, None, False, at_the_end, on_step=lambda _, loss: losses.append(loss))
    stepped = deep_model(family, dropout=0.3, **fields)
    trainer = Trainer(stepped, domain, QUICK, 5)
    assert [float(trainer.step()) for _ in range(QUICK.steps)] == [float(loss) for loss in losses]
    assert trainer.progress.step == QUICK.steps and not trainer.progress.history
    assert all(torch.equal(value, last[name]) for name, value in stepped.state_dict().items())


def test_a_loop_of_ones_own_is_fit(tmp_path):
    """The parts that the Trainer is made of, called by hand: validate, save, resume, restore."""
    domain, expected = tiny.domain("text"), deep_model("bert", dropout=0.3)
    history = fit(expected, domain, QUICK, 5, show_progress=False).history
    path = tmp_path / "c.safetensors"
    for last in (4, 6):
        model = deep_model("bert", dropout=0.3)
        trainer = Trainer(model, domain, QUICK, 5, path)
        assert trainer.resume() == (last == 6)
        if not trainer.progress.history:
            trainer.validate()
        while trainer.progress.step < last:
            trainer.step()
            if trainer.progress.step % 2 == 0:
                assert trainer.validate() == trainer.progress.history[-1]
        trainer.save()
    trainer.restore_best()
    assert trainer.done and trainer.progress.history == history and equal(model, expected)
    assert "loss" not in trainer.validate()  # no step since the last one


def test_fit_takes_fields():
    domain, calls = tiny.domain("text"), []
    few = dict(steps=3, eval_every=2, batch_size=16, warmup=2, lr=1e-2)
    spec = TrainSpec(
        **few | {"min_steps": 3, "lr": StepSizes(encoder=1e-2, head=1e-2, user=1e-2, adapter=1e-2)}
    )

    def on_step(progress, loss):
        calls.append((progress.step, loss.shape, loss.requires_grad, len(progress.history)))

    models = [tiny.model(), tiny.model(), tiny.model()]
    with_spec = fit(models[0], domain, spec, show_progress=False)
    with_fields = fit(models[1], domain, show_progress=False, on_step=on_step, **few)
    with_both = fit(models[2], domain, QUICK, show_progress=False, min_steps=3, **few)
    assert with_spec.history == with_fields.history == with_both.history
    assert equal(models[0], models[1]) and equal(models[0], models[2])
    assert calls == [(1, (), False, 1), (2, (), False, 1), (3, (), False, 2)]


def test_an_unknown_field_and_a_field_that_shares_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, domain = deep_model("bert", method="houlsby", layers=[2]), tiny.domain("text")
    with pytest.raises(UserError, match="unknown key 'stepps' in TrainSpec; did you mean 'steps'?"):
        fit(model, domain, stepps=100)
    assert fit(model, domain, steps=1, show_progress=False, cache="off").cached is None
    assert not list(tmp_path.iterdir())
    assert fit(model, domain, steps=1, show_progress=False, cache="kept").cached is not None
    assert len(list(tmp_path.glob("kept/*.npy"))) == 1


def test_the_model_remembers_what_it_was_trained_on():
    model, domain = tiny.model(), tiny.domain("text")
    remembered = []
    model.remember = remembered.append
    fit(model, domain, steps=1, show_progress=False)
    assert remembered == [domain]


def test_patience_waits_for_the_minimum_budget():
    spec = TrainSpec(
        steps=40,
        min_steps=20,
        eval_every=2,
        patience=1,
        batch_size=16,
        lr=StepSizes(encoder=0, head=0, user=0),
    )
    assert fit(tiny.model(), tiny.domain("text"), spec, 0, show_progress=False).step == 20


def test_a_fixed_backbone_is_computed_once_with_the_same_result():
    domain, models = tiny.domain("text"), [tiny.model(), tiny.model()]
    for model in models:
        model.requires_grad_(False)
        model.item_encoder.projection.requires_grad_(True)
    models[1].backbone_is_fixed = lambda: False
    histories = [fit(m, domain, QUICK, 0, show_progress=False).history for m in models]
    assert histories[0][-1]["loss"] == pytest.approx(histories[1][-1]["loss"], abs=1e-5)
    assert models[0].backbone_is_fixed() and torch.allclose(
        models[0].item_encoder.projection.weight, models[1].item_encoder.projection.weight, atol=1e-5
    )


def test_nothing_to_train_and_divergence_are_clear_errors():
    model, domain = tiny.model(), tiny.domain("text")
    model.requires_grad_(False)
    with pytest.raises(UserError, match="nothing to train"):
        fit(model, domain, QUICK, 0, show_progress=False)
    model.requires_grad_(True)
    with torch.no_grad():
        model.item_encoder.projection.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="smaller step size"):
        fit(model, domain, QUICK, 0, show_progress=False)


@pytest.mark.parametrize(
    "options", [{"accumulate": 3}, {"checkpointing": True}, {"cache": "off"}, {"precision": "bf16"}]
)
def test_training_with_each_option_goes_the_same_way(options):
    spec = TrainSpec(steps=4, min_steps=0, eval_every=2, batch_size=16)
    histories = []
    for given in ({}, options):
        model = deep_model("bert", method="houlsby", layers=[2])
        options_of_run = TrainSpec(**spec.model_dump() | given)
        histories.append(fit(model, tiny.domain("text"), options_of_run, 0, show_progress=False).history)
    tolerance = 0.05 if "precision" in options else 1e-4
    assert [h["loss"] for h in histories[0][1:]] == pytest.approx(
        [h["loss"] for h in histories[1][1:]], abs=tolerance
    )


def test_checkpointing_ends_with_the_run_that_asked_for_it():
    model = deep_model("bert")
    for on in (True, False):
        fit(
            model,
            tiny.domain("text"),
            TrainSpec(steps=1, min_steps=0, checkpointing=on),
            0,
            show_progress=False,
        )
        assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules()) == on
