"""The control that trains nothing: items whose content is nearest to what the user had, by the encoder as
it was before any source stage.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.evaluation.ranking import Scorer, parts, target_ranks, test_cases
from transrec_core.models.transrec import TransRec


def nearest_ranks(model: TransRec, domain: Domain) -> np.ndarray:
    """Ranks by the cosine between each item's pooled backbone state and the mean of the user's last
    ``max_len`` items' states (each of length one), int32 [cases]. Head and user encoder of ``model``
    are not used.
    """
    states = F.normalize(model.pooled_catalogue(domain.catalog), dim=-1)  # row 0, padding, stays zero

    def scorer(histories: Interactions) -> Scorer:
        def score(users: np.ndarray) -> torch.Tensor:
            had = torch.from_numpy(histories.padded(users, model.spec.max_len)).to(states.device)
            return (
                F.embedding_bag(had, states, mode="sum") @ states.T
            )  # the length of the sum changes no order

        return score

    cases = (test_cases(domain, part) for part in parts(domain, "all"))
    return np.concatenate(
        [
            target_ranks(scorer(histories), histories, targets, str(states.device))
            for histories, targets in cases
        ]
    )


def popularity_ranks(domain: Domain) -> np.ndarray:
    """The control that recommends to everyone what occurs most often in training."""
    counts = torch.from_numpy(domain.split.train.counts().astype(np.float32))
    ranks = []
    for part in parts(domain, "all"):
        histories, targets = test_cases(domain, part)
        ranks.append(target_ranks(lambda users: counts.expand(len(users), -1), histories, targets))
    return np.concatenate(ranks)
