"""Batches and losses against plain loops; training that improves, stops, and resumes to the same bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batcher
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import model_ranks
from transrec_core.training.spec import StepSizes, TrainSpec
from transrec_core.training.trainer import fit

LOSSES = ["catalogue", "batch", "bce"]
QUICK = TrainSpec(steps=6, min_steps=0, eval_every=2, batch_size=16, warmup=2)


def loop_loss(model, domain, batcher, step) -> float:
    """The loss of a batch, position by position, from its definition."""
    batch = batcher.batch(step)
    order = np.random.default_rng([batcher.seed, 0, step // batcher.steps_per_epoch]).permutation(
        batcher.users
    )
    place = step % batcher.steps_per_epoch
    users = order[place * batcher.batch_size : (place + 1) * batcher.batch_size]
    vectors = model.catalogue(domain.catalog).double()
    losses, m = [], 0
    for user in users:
        sequence = [int(i) for i in domain.split.train.user(user)[-(model.spec.max_len + 1) :]]
        positions = range(len(sequence) - 1) if model.spec.objective == "sasrec" else [len(sequence) - 2]
        with torch.no_grad():
            states = model.encode_users(vectors[sequence[:-1]][None].float())[0].double()
        for t in positions:
            target = sequence[t + 1]
            if batcher.loss == "bce":
                negative = int(batch.items[batch.negatives[m]])
                assert negative not in sequence
                up, down = states[t] @ vectors[target], states[t] @ vectors[negative]
                losses.append(math.log1p(math.exp(-up)) + math.log1p(math.exp(down)))
            else:
                candidates = [int(i) for i in batch.items if int(i) == target or int(i) not in sequence]
                logits = {i: float(states[t] @ vectors[i]) for i in candidates}
                if batcher.loss == "batch":
                    counts = np.bincount(domain.split.train.items, minlength=tiny.ITEMS + 1) + 1.0
                    logits = {i: s - math.log(counts[i] / counts[1:].sum()) for i, s in logits.items()}
                losses.append(math.log(sum(math.exp(s) for s in logits.values())) - logits[target])
            m += 1
    return float(np.mean(losses))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("objective", ["sasrec", "cpc"])
def test_loss_equals_a_plain_loop(loss, objective):
    model, domain = tiny.model(objective=objective).eval(), tiny.domain("text")
    batcher = Batcher(domain.split.train, objective, loss, 16, model.spec.max_len, 3)
    for step in (0, batcher.steps_per_epoch):
        batch = batcher.batch(step)
        assert len(torch.unique(batch.items)) == len(batch.items)  # each item is encoded once
        with torch.no_grad():
            ours = float(model(domain.catalog.batch(batch.items), batch))
        assert ours == pytest.approx(loop_loss(model, domain, batcher, step), abs=1e-4)


def test_targets_of_validation_and_test_are_never_trained_on():
    domain = tiny.domain("text")
    batcher = Batcher(domain.split.train, "sasrec", "catalogue", 1000, 50, 0)
    batch = batcher.batch(0)
    lengths = domain.split.train.lengths
    assert (lengths == domain.interactions.lengths - 2).all()
    assert len(batch.rows) == int((lengths - 1).sum())


def test_an_epoch_sees_each_user_once_and_shards_are_a_partition():
    train = tiny.domain("text").split.train
    whole = Batcher(train, "sasrec", "batch", 20, 10, 0)
    halves = [Batcher(train, "sasrec", "batch", 20, 10, 0, (i, 2)) for i in (0, 1)]
    for step in range(whole.steps_per_epoch):
        assert sum(len(h.batch(step).inputs) for h in halves) == len(whole.batch(step).inputs) == 20
    a = [whole.items for whole in (whole.batch(0), whole.batch(0))]
    assert torch.equal(*a)


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


class Killed(Exception):
    """Stands for a kill right after a checkpoint was written."""


@pytest.mark.parametrize("adapter", [None, AdapterConfig(method="houlsby", item_size=4, user_size=4)])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_law_8_a_resumed_run_ends_in_the_same_bits(adapter, dropout, tmp_path):
    def fresh():
        model = tiny.model()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        if adapter:
            torch.manual_seed(0)
            model.add_adapter("a", adapter)
            model.train_adapter("a")
        return model

    domain = tiny.domain("text")
    whole = fresh()
    expected = fit(whole, domain, QUICK, 5, show_progress=False)

    def kill(progress):
        if progress.step == 4:
            raise Killed

    with pytest.raises(Killed):
        fit(fresh(), domain, QUICK, 5, tmp_path / "c.safetensors", False, kill)
    resumed = fresh()
    progress = fit(resumed, domain, QUICK, 5, tmp_path / "c.safetensors", False)
    assert progress.history == expected.history and progress.best_step == expected.best_step
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="c.safetensors"):
        fit(tiny.model(), tiny.domain("text"), QUICK, 0, path, False)


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


def test_a_budget_out_of_order_is_refused():
    with pytest.raises(ValidationError, match="min_steps=7 is more than steps=6"):
        TrainSpec(steps=6, min_steps=7)
