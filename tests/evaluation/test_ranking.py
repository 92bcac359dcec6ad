"""Full ranking against a plain loop, and law 9."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import tiny
from transrec_core.base.errors import UserError
from transrec_core.data.domain import Domain
from transrec_core.evaluation import ranking as evaluation
from transrec_core.evaluation.controls import popularity_ranks
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import evaluate, meaningless, model_ranks, target_ranks


def loop_rank(scores: np.ndarray, history: set[int], target: int) -> int:
    """Written from the definition: how many items outside the history, other than the target, do at least
    as well.
    """
    better = [
        i for i in range(1, len(scores)) if i != target and i not in history and scores[i] >= scores[target]
    ]
    return 1 + len(better)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_ranks_equal_a_plain_loop(seed, ties):
    rng = np.random.default_rng(seed)
    histories = tiny.interactions(seed=seed).drop_last(1)
    targets = rng.integers(1, tiny.ITEMS + 1, len(histories))  # some are in the history: they still count
    scores = rng.normal(size=(len(histories), tiny.ITEMS + 1)).astype(np.float32)
    if ties:
        scores = np.round(scores)
    ranks = target_ranks(lambda users: torch.from_numpy(scores[users]), histories, targets)
    expected = [
        loop_rank(scores[u], set(histories.user(u).tolist()), int(targets[u])) for u in range(len(targets))
    ]
    assert ranks.tolist() == expected


def test_law_9_a_constant_scorer_ranks_last():
    histories = tiny.interactions().drop_last(1)
    targets = tiny.interactions().last(1)
    ranks = target_ranks(lambda users: torch.zeros(len(users), tiny.ITEMS + 1), histories, targets)
    assert (ranks == tiny.ITEMS - histories.lengths).all()


def test_defect_evaluation_masks_a_target_in_the_history():
    histories = tiny.interactions().drop_last(1)
    targets = np.array([histories.user(u)[0] for u in range(len(histories))])
    perfect = torch.zeros(len(targets), tiny.ITEMS + 1)
    perfect[torch.arange(len(targets)), torch.from_numpy(targets.astype(np.int64))] = 1
    assert (target_ranks(lambda users: perfect[users], histories, targets) == 1).all()


def test_block_size_changes_no_rank(monkeypatch):
    model, domain = tiny.model(), tiny.domain("text")
    whole = model_ranks(model, domain, "all")
    monkeypatch.setattr(evaluation, "BLOCK_ELEMENTS", 3 * (tiny.ITEMS + 1))
    assert (model_ranks(model, domain, "all") == whole).all()
    assert len(whole) == len(domain.interactions) + len(domain.extra)


def test_catalogue_order_changes_no_rank():
    """Law 5: renumbering the items moves their content along and leaves every rank where it was."""
    from transrec_core.data.catalog import TextCatalog
    from transrec_core.data.interactions import Interactions

    model, domain = tiny.model(), tiny.domain("text")
    new = np.concatenate(
        [[0], 1 + np.random.default_rng(0).permutation(tiny.ITEMS)]
    )  # old number -> new number
    old = np.argsort(new)
    moved = TextCatalog(domain.catalog.tokens[old], domain.catalog.lengths[old], 0, None)
    inter = domain.interactions
    renamed = Domain(
        "moved", moved, Interactions(new[inter.items].astype(np.int32), inter.offsets, inter.n_items)
    )
    assert (model_ranks(model, domain, "test") == model_ranks(model, renamed, "test")).all()


def test_scores_that_are_no_numbers_are_an_error():
    histories = tiny.interactions().drop_last(1)
    with pytest.raises(UserError, match="diverged"):
        target_ranks(
            lambda users: torch.full((len(users), tiny.ITEMS + 1), float("nan")),
            histories,
            tiny.interactions().last(1),
        )


def test_popularity_is_the_training_count():
    domain = tiny.domain("text")
    counts = np.bincount(domain.split.train.items, minlength=tiny.ITEMS + 1)
    histories, targets = domain.split.test_history, domain.split.test_target
    expected = [
        loop_rank(counts, set(histories.user(u).tolist()), int(targets[u])) for u in range(len(targets))
    ]
    assert popularity_ranks(domain)[: len(targets)].tolist() == expected


def test_metrics_by_hand():
    found = metrics(np.array([1, 2, 6, 30]))
    assert found["HR@1"] == 0.25 and found["HR@5"] == 0.5 and found["HR@10"] == 0.75
    assert found["NDCG@10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(7)) / 4)
    assert found["MRR"] == pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 30) / 4)


@pytest.mark.parametrize("part", evaluation.PARTS)
def test_evaluate_gives_the_ranks_of_a_part_and_their_metrics(part):
    model, domain = tiny.model(), tiny.domain("text")
    model.train()
    result = evaluate(model, domain, part)
    assert model.training and result.part == part and result.cases == len(result.ranks)
    assert (result.ranks == model_ranks(model, domain, part)).all() and result.ranks.dtype == np.int32
    assert result.metrics == metrics(result.ranks)
    assert repr(result).startswith(f"<Evaluation on {part}, {result.cases} cases: HR@1 ")


def test_evaluate_by_other_cutoffs():
    result = evaluate(tiny.model(), tiny.domain("text"), cutoffs=[3])
    assert set(result.metrics) == {"HR@3", "NDCG@3", "MRR"}
    assert result.metrics["HR@3"] == (result.ranks <= 3).mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "tst"}, "part 'tst': did you mean 'test'?"),
        ({"part": "everything"}, "there are: valid, test, extra, all"),
        ({"cutoffs": [0, 5]}, r"cutoffs=\[0, 5\]"),
        ({"cutoffs": []}, r"cutoffs=\[\]"),
    ],
)
def test_evaluate_tells_what_is_not_there(options, message):
    with pytest.raises(UserError, match=message) as error:
        evaluate(tiny.model(), tiny.domain("text"), **options)
    assert "\n" not in str(error.value)


def test_extra_users_are_asked_for_where_there_are_none():
    domain = replace(tiny.domain("text"), extra=None)
    with pytest.raises(UserError, match="no extra users"):
        evaluate(tiny.model(), domain, "extra")
    assert evaluate(tiny.model(), domain, "all").cases == len(domain.interactions)


def test_items_of_another_kind_are_told():
    with pytest.raises(UserError, match="reads text, the domain's items are image"):
        evaluate(tiny.model("bert"), tiny.domain("image"))


@pytest.mark.parametrize(
    ("items", "note"),
    [(8, "HR@10 and HR@20 mean nothing in a catalogue of 8 items"), (20, "HR@20 means nothing"), (21, None)],
)
def test_a_small_catalogue_is_told(items, note):
    model = tiny.model()
    domain = Domain("small", tiny.catalog("text", items), tiny.interactions(items))
    if note is None:
        assert meaningless(items) is None and evaluate(model, domain).cases
    else:
        with pytest.warns(UserWarning, match=note):
            evaluate(model, domain)
