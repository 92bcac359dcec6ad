"""HR@K, NDCG@K and MRR from ranks; numpy alone."""

from __future__ import annotations

import numpy as np

CUTOFFS = (1, 5, 10, 20)


def metrics(ranks: np.ndarray) -> dict[str, float]:
    """HR@K and NDCG@K for K in :data:`CUTOFFS`, and MRR, as fractions; with one target a user, NDCG is 1 /
    log2(rank + 1).
    """
    found: dict[str, float] = {}
    for k in CUTOFFS:
        hit = ranks <= k
        found[f"HR@{k}"] = float(hit.mean())
        found[f"NDCG@{k}"] = float(np.where(hit, 1 / np.log2(ranks + 1.0), 0.0).mean())
    found["MRR"] = float((1.0 / ranks).mean())
    return found
