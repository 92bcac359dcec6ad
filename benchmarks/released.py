"""The released procedure, re-created from its description: what training and ranking cost when nothing is
shared.

Every item of every sequence and every negative is encoded where it stands, padding included; titles are
padded to 30 tokens; attention is written out; Adam goes through the parameters one by one; users are ranked
one at a time, by sorting all items. It gets the same weights, users and negatives as our own step, so both
must find the same loss.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from transrec_core.data.batching import Batch
from transrec_core.data.catalog import TextCatalog
from transrec_core.data.interactions import Interactions
from transrec_core.models import TransRec

TOKENS = 30


def padded_titles(catalog: TextCatalog) -> tuple[Tensor, Tensor]:
    """Tokens and mask of all items at 30 tokens each, [items + 1, 30]."""
    tokens = F.pad(
        torch.from_numpy(catalog.tokens.astype(np.int64)),
        (0, TOKENS - catalog.tokens.shape[1]),
        value=catalog.pad_id,
    )
    return tokens, (torch.arange(TOKENS) < torch.from_numpy(catalog.lengths.astype(np.int64))[:, None]).long()


def places(batch: Batch, max_len: int) -> tuple[Tensor, Tensor, Tensor]:
    """Item numbers of the inputs, of the positives and of the negatives [B, max_len], 0 where there is
    none.
    """
    users = len(batch.inputs)
    inputs, positives, negatives = (torch.zeros(users, max_len, dtype=torch.long) for _ in range(3))
    inputs[batch.rows, batch.columns] = batch.items[batch.inputs[batch.rows, batch.columns]]
    positives[batch.rows, batch.columns] = batch.items[batch.targets]
    assert batch.negatives is not None
    negatives[batch.rows, batch.columns] = batch.items[batch.negatives]
    return inputs, positives, negatives


def loss(model: TransRec, titles: tuple[Tensor, Tensor], batch: Batch, max_len: int) -> Tensor:
    """The loss of a batch, binary cross-entropy with one negative for each position."""
    inputs, positives, negatives = places(batch, max_len)
    sequence = torch.cat(
        [inputs[:, :1], positives], 1
    )  # [B, L + 1]: inputs are all but the last, positives all but the first
    drawn = torch.cat([negatives, torch.zeros_like(negatives[:, :1])], 1)
    items = torch.stack([sequence, drawn], 2).flatten()
    vectors = model.encode_items(
        {"input_ids": titles[0][items], "attention_mask": titles[1][items]}
    ).unflatten(0, (*sequence.shape, 2))
    states = model.encode_users(vectors[:, :-1, 0])
    real = positives > 0
    up = (states * vectors[:, 1:, 0]).sum(-1)[real]
    down = (states * vectors[:, :-1, 1]).sum(-1)[real]
    return F.binary_cross_entropy_with_logits(up, torch.ones_like(up)) + F.binary_cross_entropy_with_logits(
        down, torch.zeros_like(down)
    )


@torch.no_grad()
def encode(model: TransRec, vectors: Tensor, histories: Interactions, users: np.ndarray) -> Tensor:
    """User vectors [users, d], from sequences padded to the greatest length."""
    sequences = np.zeros((len(users), model.spec.max_len), dtype=np.int64)
    shorter = histories.padded(users, model.spec.max_len)
    sequences[:, : shorter.shape[1]] = shorter
    states = model.encode_users(vectors[torch.from_numpy(sequences)])
    return states[torch.arange(len(users)), torch.from_numpy((sequences > 0).sum(1) - 1)]


@torch.no_grad()
def ranks(
    states: Callable[[np.ndarray], Tensor],
    vectors: Tensor,
    histories: Interactions,
    targets: np.ndarray,
    users: range,
) -> np.ndarray:
    """Ranks of some users' targets, int [users]. The history is masked, all items are sorted, a label for
    each item goes along with them, and the target's rank is the sum of labels times places.

    Args:
        states: user numbers -> user vectors [users, d]; asked for 64 at a time.
    """
    ranks_of_all, n_items = [], len(vectors) - 1
    places = torch.arange(1, n_items + 1, dtype=torch.float32)
    for first in range(users.start, users.stop, 64):
        some = np.arange(first, min(first + 64, users.stop))
        for user, scores in zip(some, states(some) @ vectors.T, strict=True):
            labels = torch.zeros(n_items)
            labels[int(targets[user]) - 1] = 1
            scores[torch.from_numpy(histories.user(user).astype(np.int64))] = -torch.inf
            order = torch.argsort(scores[1:], descending=True)
            ranks_of_all.append(int((labels[order] * places).sum()))
    return np.array(ranks_of_all)
