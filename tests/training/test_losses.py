"""Batches and losses against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests import tiny
from transrec_core.data.batching import Batcher

LOSSES = ["catalogue", "batch", "bce"]


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
