"""Content of a batch in parts: titles of like length together, so that little is padded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Parts:
    """Content of a batch's items in parts that are encoded one after the other: titles of like length
    together, so that little is padded.

    Attributes:
        features: of each part, as :meth:`Catalog.batch` gives them.
        order: where each item's vector stands among those of all parts [k].
    """

    features: list[Mapping[str, Any]]
    order: Tensor

    def joined(self, vectors: list[Tensor]) -> Tensor:
        """One tensor in the order of the items.

        Args:
            vectors: of each part, [items of the part, d].

        Returns:
            Vectors [k, d].
        """
        return torch.cat(vectors)[self.order]


def length_groups(lengths: np.ndarray, overhead: float) -> list[np.ndarray]:
    """Titles grouped by length so that the padded tokens, and what each group costs besides, are fewest.

    Args:
        lengths: tokens of each title [k].
        overhead: what a group costs, in tokens.

    Returns:
        Places in ``lengths`` of each group's titles.
    """
    padded = len(lengths) * int(lengths.max(initial=0))
    if padded - lengths.sum() <= overhead:  # no cut can pay
        return [np.arange(len(lengths))]
    sizes, counts = np.unique(lengths, return_counts=True)
    before = np.concatenate([[0], np.cumsum(counts)])  # titles shorter than each size
    best, cut = np.zeros(len(sizes) + 1), np.zeros(len(sizes) + 1, dtype=int)
    for j in range(1, len(sizes) + 1):
        total = best[:j] + (before[j] - before[:j]) * sizes[j - 1] + overhead
        cut[j], best[j] = total.argmin(), total.min()
    order, ends, j = np.argsort(lengths, kind="stable"), list[int](), len(sizes)
    while j:
        ends.append(int(before[cut[j]]))
        j = cut[j]
    return np.split(order, ends[-2::-1])
