"""The benchmarks compare like with like: the released procedure, as re-created there, finds the same loss,
gradient and ranks.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks import gpu, mutate, released
from benchmarks.pairs import Row, side_by_side
from tests import tiny
from transrec_core.data.batching import Batcher
from transrec_core.evaluation import ranking as evaluation
from transrec_core.training.inputs import item_inputs


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
    sides = []
    for value in (
        released.loss(model, padded(domain.catalog), batch, 10),
        model(item_inputs(model, domain.catalog)(batch.items), batch),
    ):
        value.backward()
        sides.append(
            (
                value.detach(),
                {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None},
            )
        )
        model.zero_grad()
    assert torch.allclose(sides[0][0], sides[1][0], atol=1e-5)
    for name, gradient in sides[1][1].items():
        assert torch.allclose(sides[0][1][name], gradient, atol=1e-5), name


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
    slow, fast, middle, low, high = side_by_side(
        lambda: turns.append("before"), lambda: turns.append("after"), 3
    )
    assert turns == ["before", "after"] * 4 and low <= middle <= high and slow > 0 and fast > 0
    row = Row("part", "what", "baseline", "s", 3, 1, 3.0, 2.9, 3.1, 3, 3.0)
    assert row.reached and not Row(**{**vars(row), "ratio": 2.99}).reached
    once = Row.once("part", "what", "baseline", "s", 6, 2, 3.0, "note")
    assert (once.ratio, once.low, once.high, once.pairs) == (3, 3, 3, 1) and once.reached


@pytest.mark.slow
def test_the_gpu_benchmark_runs_without_one():
    row = gpu.measure("lora", False, torch.device("cpu"), 1e12, tiny=True, repeats=1)
    assert row["tokens a second"] == pytest.approx(row["items"] * gpu.TOKENS / row["seconds"])
    assert row["operations"] > 0 and row["waits in a step"] is None


@pytest.mark.parametrize("mutation", mutate.MUTATIONS, ids=lambda mutation: mutation.test.split("::")[1])
def test_each_defect_has_its_place_and_its_test(mutation):
    """``benchmarks/mutate.py`` itself takes minutes; this notices at once what has moved."""
    assert (mutate.ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.before) == 1
    file, _, test = mutation.test.partition("::")
    assert f"def {test}(" in (mutate.ROOT / file).read_text(encoding="utf-8")


@pytest.mark.slow
def test_titles_of_a_folder_without_the_real_encoder_are_a_line(tmp_path):
    """As in ``make bench DATA=...`` where the optional package is not installed."""
    command = [sys.executable, "-m", "benchmarks.costs", "--data-root", str(tmp_path)]
    done = subprocess.run(command, cwd=mutate.ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
