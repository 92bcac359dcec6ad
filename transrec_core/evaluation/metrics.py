"""HR@K, NDCG@K and MRR from ranks; numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CUTOFFS = (1, 5, 10, 20)


def metrics(ranks: np.ndarray, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
    """HR@K, NDCG@K and MRR as fractions; with one target a user, NDCG is 1 / log2(rank + 1).

    Args:
        ranks: of the targets, best = 1.
        cutoffs: the K.
    """
    values: dict[str, float] = {}
    for k in cutoffs:
        hit = ranks <= k
        values[f"HR@{k}"] = float(hit.mean())
        values[f"NDCG@{k}"] = float(np.where(hit, 1 / np.log2(ranks + 1.0), 0.0).mean())
    values["MRR"] = float((1.0 / ranks).mean())
    return values
