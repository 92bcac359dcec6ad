"""Full ranking: where the held-out item stands among all items of the catalogue.

Users are scored in blocks, so that memory holds block x items and never users x items. Items of the history
are left out, the target never is, and a tie counts against the model: a scorer that says the same of all
items ranks last.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from transrec_core.base.errors import UserError
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.models.transrec import TransRec

#: Scores held at once (4 MB in float32: they stay in the processor's cache), but those of four users at
#: least.
BLOCK_ELEMENTS, LEAST_USERS = 1 << 20, 4

#: user numbers [b] -> scores of all items [b, items + 1]; column 0 (padding) is ignored
Scorer = Callable[[np.ndarray], Tensor]


def target_ranks(
    scorer: Scorer, histories: Interactions, targets: np.ndarray, device: str = "cpu"
) -> np.ndarray:
    """Ranks of the targets among all items not in the user's history, best = 1.

    Args:
        scorer: gives scores for a block of users.
        histories: what each user had before.
        targets: [users] item numbers.
        device: where the scores are.

    Returns:
        int32 [users].

    Raises:
        UserError: if a score is not a number (training diverged).
    """
    n_items = histories.n_items
    block = max(LEAST_USERS, BLOCK_ELEMENTS // (n_items + 1))
    longest = int(histories.lengths.max(initial=1))
    ranks = np.zeros(len(targets), dtype=np.int32)
    for start in range(0, len(targets), block):
        users = np.arange(start, min(start + block, len(targets)))
        scores = scorer(users).float()
        if torch.isnan(scores.sum()):  # one NaN makes the sum one
            raise UserError(
                "scores are not numbers: training diverged; use a smaller step size (training.lr)"
            )
        goal = torch.from_numpy(targets[users].astype(np.int64)).to(device)[:, None]
        reached = scores.gather(1, goal)
        seen = torch.from_numpy(histories.padded(users, max(1, longest))).to(device)
        # Ones and zeros as floats: several times faster to make and to sum than truth values, and exact up to
        # 16 million items.
        ahead = torch.ge(
            scores, reached, out=torch.empty(scores.shape, device=scores.device)
        )  # a tie is lost
        ahead.scatter_(1, seen, 0.0)  # the history, and column 0 where rows are padded
        ahead[:, 0] = 0.0
        ahead.scatter_(1, goal, 1.0)  # the target counts itself, also when it is in the history
        ranks[users] = ahead.sum(1).int().cpu().numpy()
    return ranks


def test_cases(domain: Domain, part: str) -> tuple[Interactions, np.ndarray]:
    """Histories and targets: "valid" (validation items), "test" (test items), or "extra" (the further test
    users').

    Returns:
        histories of U users and targets [U].
    """
    if part == "valid":
        return domain.split.valid_history, domain.split.valid_target
    if part == "test":
        return domain.split.test_history, domain.split.test_target
    assert domain.extra is not None
    return domain.extra.drop_last(1), domain.extra.last(1)


def model_scorer(model: TransRec, vectors: Tensor, histories: Interactions) -> Scorer:
    """Scores u . v_i of a TransRec, from item vectors computed once [items + 1, d]."""

    @torch.no_grad()
    def score(users: np.ndarray) -> Tensor:
        padded = histories.padded(users, model.spec.max_len)
        if padded.shape[1] == 0:
            raise UserError(
                "a user without history can't be scored: every user needs 3 interactions at least"
            )
        sequence = torch.from_numpy(padded).to(vectors.device)
        last = torch.from_numpy((padded > 0).sum(1) - 1).to(vectors.device)
        states = model.encode_users(vectors[sequence])
        return states[torch.arange(len(users), device=vectors.device), last] @ vectors.T

    return score


def model_ranks(model: TransRec, domain: Domain, part: str, vectors: Tensor | None = None) -> np.ndarray:
    """Ranks of a model on a part of a domain ("all" = test and extra together), int32 [cases]."""
    training = model.training
    model.eval()
    if vectors is None:
        vectors = model.catalogue(domain.catalog)
    ranks = [
        target_ranks(model_scorer(model, vectors, histories), histories, targets, str(vectors.device))
        for histories, targets in (test_cases(domain, p) for p in parts(domain, part))
    ]
    model.train(training)
    return np.concatenate(ranks)


def parts(domain: Domain, part: str) -> list[str]:
    """The parts that "all" stands for."""
    if part != "all":
        return [part]
    return ["test", "extra"] if domain.extra is not None else ["test"]
