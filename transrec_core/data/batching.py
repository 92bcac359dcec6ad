"""Batches of users: inputs, next items, candidates; each item of a batch is named once.

Everything about a batch follows from (seed, step), so a resumed run sees the batches that the killed one
would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from transrec_core.base.errors import UserError
from transrec_core.data.interactions import Interactions

Loss = Literal["catalogue", "batch", "bce"]


@dataclass
class Batch:
    """B users with up to L inputs each, M positions with a loss, k distinct items.

    Attributes:
        items: item numbers to encode [k], ascending; everything else points into it.
        inputs: [B, L], right-padded (padding points at row 0, which no real position reads).
        rows: [M] users of the positions with a loss.
        columns: [M] their places in the history.
        targets: [M] the next item there.
        own: [B, k] True where a candidate is one of the user's own items (softmax only).
        negatives: [M] a sampled item that is none of the user's (BCE only).
        log_q: [k] log-probability that a candidate came into the batch (sampled candidates only).
    """

    items: Tensor
    inputs: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    own: Tensor | None = None
    negatives: Tensor | None = None
    log_q: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; a GPU is not waited for."""
        if device.type == "cpu":
            return self
        moved = {
            k: v.pin_memory().to(device, non_blocking=True) if v is not None else None
            for k, v in vars(self).items()
        }
        return Batch(**moved)  # type: ignore[arg-type]


class Batcher:
    """Draws training batches from users' histories.

    Args:
        train: training part of the histories (targets of validation and test are not in it).
        objective: "sasrec" or "cpc".
        loss: candidates: the whole catalogue, the batch's items, or one negative (BCE).
        batch_size: users a step.
        max_len: items a user.
        seed: see the module's docstring.
        shard: (index, count) of this process among several; each takes its part of every batch.

    Raises:
        UserError: if no user has two training items.
    """

    def __init__(
        self,
        train: Interactions,
        objective: str,
        loss: Loss,
        batch_size: int,
        max_len: int,
        seed: int,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.train, self.objective, self.loss, self.max_len, self.seed = train, objective, loss, max_len, seed
        self.users = np.flatnonzero(train.lengths >= 2)
        if not len(self.users):
            raise UserError(
                "no user has two training items: nothing can be learnt (4 interactions a user are the least)"
            )
        self.batch_size, self.shard = min(batch_size, len(self.users)), shard
        self._order = -1, self.users  # (epoch, its users in order)
        counts = train.counts() + 1.0
        self.log_p = np.log(counts / counts[1:].sum())

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches that the users make up; one at least."""
        return max(1, len(self.users) // self.batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a step (0-based)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._order[0]:  # once an epoch: shuffling a million users takes longer than a batch
            self._order = epoch, np.random.default_rng([self.seed, 0, epoch]).permutation(self.users)
        start, (process, processes) = place * self.batch_size, self.shard
        users = self._order[1][start : start + self.batch_size][process::processes]
        sequences = self.train.padded(users, self.max_len + 1)  # [B, L + 1]
        inputs, nexts = sequences[:, :-1], sequences[:, 1:]
        if self.objective == "cpc":
            last = (nexts > 0).sum(1) - 1
            rows, columns = np.arange(len(users)), last
        else:
            rows, columns = np.nonzero(nexts)
        targets, negatives = nexts[rows, columns], None
        if self.loss == "bce":
            negatives = self._negatives(sequences, rows, step)
        if self.loss == "catalogue":
            items = np.arange(1, self.train.n_items + 1)
        else:
            named = [sequences.ravel(), *([negatives] if negatives is not None else [])]
            items = np.unique(np.concatenate(named))
            items = items[items > 0]
        index = np.zeros(self.train.n_items + 1, dtype=np.int64)
        index[items] = np.arange(len(items))
        arrays = items, index[inputs], rows, columns, index[targets]
        batch = Batch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        if negatives is not None:
            batch.negatives = torch.from_numpy(index[negatives])
            return batch
        own = np.zeros((len(users), len(items)), dtype=bool)
        user, column = np.nonzero(sequences)
        own[user, index[sequences[user, column]]] = True
        batch.own = torch.from_numpy(own)
        if self.loss == "batch":
            batch.log_q = torch.from_numpy(self.log_p[items].astype(np.float32))
        return batch

    def _negatives(self, sequences: np.ndarray, rows: np.ndarray, step: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 1, step, self.shard[0]])
        drawn = rng.integers(1, self.train.n_items + 1, len(rows))
        for _ in range(20):  # a user who owns half of the catalogue is missed once in a million draws
            clash = np.flatnonzero((sequences[rows] == drawn[:, None]).any(1))
            if not len(clash):
                break
            drawn[clash] = rng.integers(1, self.train.n_items + 1, len(clash))
        return drawn
