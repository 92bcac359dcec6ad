"""The benchmarks compare like with like: the released procedure, as re-created there, finds the same loss,
gradient and ranks.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import costs, gpu, released
from tests import tiny
from transrec_core.data.batching import Batcher
from transrec_core.evaluation import ranking as evaluation
from transrec_core.training.inputs import ItemInputs


def padded(catalog):
    """All titles at the tiny encoder's greatest length."""
    tokens = np.zeros((len(catalog.tokens), 12), dtype=np.int64)
    tokens[:, : catalog.tokens.shape[1]] = catalog.tokens
    return torch.from_numpy(tokens), (
        torch.arange(12) < torch.from_numpy(catalog.lengths.astype(np.int64))[:, None]
    ).long()


def test_the_released_procedure_finds_the_same_loss_and_gradient():
    model, domain = tiny.model(), tiny.domain("text")
    batch = Batcher(domain.split.train, "sasrec", "bce", 16, 10, 0).batch(0)
    found = []
    for value in (
        released.loss(model, padded(domain.catalog), batch, 10),
        model(ItemInputs(model, domain.catalog)(batch.items), batch),
    ):
        value.backward()
        found.append(
            (
                value.detach(),
                {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None},
            )
        )
        model.zero_grad()
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    for name, gradient in found[1][1].items():
        assert torch.allclose(found[0][1][name], gradient, atol=1e-5), name


def test_the_released_procedure_finds_the_same_ranks_but_where_it_masks_the_target():
    model, domain = tiny.model().eval(), tiny.domain("text")
    histories, targets = evaluation.test_cases(domain, "extra")
    vectors = model.catalogue(domain.catalog)
    loop = released.ranks(
        lambda users: released.encode(model, vectors, histories, users),
        vectors,
        histories,
        targets,
        range(len(targets)),
    )
    ours = evaluation.target_ranks(evaluation.model_scorer(model, vectors, histories), histories, targets)
    fair = np.array([target not in histories.user(user) for user, target in enumerate(targets)])
    assert fair.sum() > 20
    np.testing.assert_array_equal(loop[fair], ours[fair])


def test_a_pair_is_timed_in_turns_and_a_goal_is_a_goal():
    turns = []
    slow, fast, middle, low, high = costs.side_by_side(
        lambda: turns.append("before"), lambda: turns.append("after"), 3
    )
    assert turns == ["before", "after"] * 4 and low <= middle <= high and slow > 0 and fast > 0
    row = costs.Row("part", "what", "baseline", "s", 3, 1, 3.0, 2.9, 3.1, 3, 3.0)
    assert row.reached and not costs.Row(**{**vars(row), "ratio": 2.99}).reached


def test_the_gpu_benchmark_runs_without_one():
    row = gpu.measure("lora", False, torch.device("cpu"), 1e12, tiny=True, repeats=1)
    assert row["tokens a second"] == pytest.approx(row["items"] * gpu.TOKENS / row["seconds"])
    assert row["operations"] > 0 and row["waits in a step"] is None
