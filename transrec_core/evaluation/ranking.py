"""Full ranking: where the held-out item stands among all items of the catalogue.

Users are scored in blocks, so that memory holds block x items and never users x items. Items of the history
are left out, the target never is, and a tie counts against the model: a scorer that says the same of all
items ranks last.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transrec_core.base.config import nearest
from transrec_core.base.errors import UserError
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.evaluation.metrics import CUTOFFS, metrics
from transrec_core.models.items import check_readable
from transrec_core.models.transrec import TransRec

#: Scores held at once (4 MB in float32: they stay in the processor's cache), but those of four users at
#: least.
BLOCK_ELEMENTS, LEAST_USERS = 1 << 20, 4

#: What of a domain can be tested.
PARTS = ("valid", "test", "extra", "all")

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
    """Histories of U users and their targets [U].

    Args:
        domain: whose users.
        part: "valid" (validation items), "test" (test items), or "extra" (the further test users').

    Raises:
        UserError: if there is no such part.
    """
    if part == "valid":
        return domain.split.valid_history, domain.split.valid_target
    if part == "test":
        return domain.split.test_history, domain.split.test_target
    if part != "extra":
        raise UserError(f"part '{part}': {nearest(part, PARTS)}")
    if domain.extra is None:
        raise UserError(f"the domain '{domain.name}' has no extra users; there are: valid, test, all")
    return domain.extra.drop_last(1), domain.extra.last(1)


def model_scorer(model: TransRec, vectors: Tensor, histories: Interactions) -> Scorer:
    """Scores u . v_i of a TransRec.

    Args:
        model: in evaluation mode.
        vectors: of all items [items + 1, d], computed once.
        histories: of the users.
    """

    @torch.no_grad()
    def score(users: np.ndarray) -> Tensor:
        padded = histories.padded(users, model.spec.max_len)
        if padded.shape[1] == 0:
            raise UserError(
                "a user without history can't be scored: every user needs 3 interactions at least"
            )
        return model.user_vectors(padded, vectors) @ vectors.T

    return score


def model_ranks(model: TransRec, domain: Domain, part: str, vectors: Tensor | None = None) -> np.ndarray:
    """Ranks of a model's targets on a part of a domain, int32 [cases].

    Args:
        model: in any mode, which it keeps.
        domain: histories and items.
        part: one of :data:`PARTS`.
        vectors: of all items [items + 1, d], if they are known already.

    Raises:
        UserError: if there is no such part, or a score is not a number.
    """
    cases = [test_cases(domain, p) for p in parts(domain, part)]
    training = model.training
    model.eval()
    if vectors is None:
        vectors = model.catalogue(domain.catalog)
    ranks = [
        target_ranks(model_scorer(model, vectors, histories), histories, targets, str(vectors.device))
        for histories, targets in cases
    ]
    model.train(training)
    return np.concatenate(ranks)


def parts(domain: Domain, part: str) -> list[str]:
    """The parts that "all" stands for: test, and extra if the domain has extra users.

    Args:
        domain: whose users.
        part: any part stands for itself.
    """
    if part != "all":
        return [part]
    return ["test", "extra"] if domain.extra is not None else ["test"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What :func:`evaluate` finds.

    Attributes:
        part: of the domain.
        ranks: of each case's target among all items that its user did not have, best = 1, int32 [cases].
        metrics: HR@K, NDCG@K and MRR as fractions, by name.
    """

    part: str
    ranks: np.ndarray
    metrics: dict[str, float]

    @property
    def cases(self) -> int:
        """How many users were tested."""
        return len(self.ranks)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        return f"<Evaluation on {self.part}, {self.cases:,} cases: {numbers}>"


def evaluate(
    model: TransRec, domain: Domain, part: str = "test", cutoffs: Sequence[int] = CUTOFFS
) -> Evaluation:
    """Ranks each user's held-out item among all items of the catalogue. Nothing is sampled.

    Args:
        model: a TransRec, with its active adapters.
        domain: histories and items; the last item of a user is for the test, the one before for validation.
        part: "test", "valid", "extra" (users that were never trained on, if the domain has any), or "all"
            (test and extra).
        cutoffs: the K of HR@K and NDCG@K.

    Raises:
        UserError: if there is no such part, a cut-off is below 1, the encoder can't read the items, or a
            score is not a number.
    """
    if not cutoffs or min(cutoffs) < 1:
        raise UserError(f"cutoffs={list(cutoffs)}: numbers from 1 on, such as [1, 5, 10, 20]")
    check_readable(model.item_encoder, domain.catalog)
    ranks = model_ranks(model, domain, part)
    note = meaningless(domain.catalog.n_items, cutoffs)
    if note is not None:
        warnings.warn(note, stacklevel=2)
    return Evaluation(part, ranks, metrics(ranks, cutoffs))


def meaningless(n_items: int, cutoffs: Sequence[int] = CUTOFFS) -> str | None:
    """One line on cut-offs that every item of a small catalogue reaches, or None.

    Args:
        n_items: size of the catalogue.
        cutoffs: the K of HR@K.
    """
    reached = [f"HR@{k}" for k in cutoffs if k >= n_items]
    if not reached:
        return None
    verb = "means" if len(reached) == 1 else "mean"
    return f"{' and '.join(reached)} {verb} nothing in a catalogue of {n_items} items: every item is a hit"
