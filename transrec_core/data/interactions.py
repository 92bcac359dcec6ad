"""Who had what, in which order: user histories as two flat arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Interactions:
    """User histories, one after the other.

    Attributes:
        items: int32 [interactions], item numbers 1..n_items (0 is padding), oldest first within a user.
        offsets: int64 [users + 1]; user u has ``items[offsets[u]:offsets[u + 1]]``.
        n_items: size of the catalogue.
    """

    items: np.ndarray
    offsets: np.ndarray
    n_items: int

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]], n_items: int) -> Interactions:
        """From plain lists (for small data).

        Args:
            lists: item numbers of each user, oldest first.
            n_items: size of the catalogue.
        """
        lists = list(lists)
        lengths = np.array([len(x) for x in lists], dtype=np.int64)
        flat = np.array([i for x in lists for i in x], dtype=np.int32)
        return cls(flat, np.concatenate([[0], np.cumsum(lengths)]), n_items)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Interactions of each user, int64 [users]."""
        return np.diff(self.offsets)

    def user(self, u: int) -> np.ndarray:
        """One user's items, oldest first (a view)."""
        return self.items[self.offsets[u] : self.offsets[u + 1]]

    def _spans(self, starts: np.ndarray, lengths: np.ndarray) -> Interactions:
        """Copies the spans ``items[start:start + length]``, one a user."""
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Interactions(self.items[index], offsets, self.n_items)

    def select(self, users: Sequence[int] | np.ndarray) -> Interactions:
        """These users, in this order."""
        users = _numbers(users)
        return self._spans(self.offsets[users], self.lengths[users])

    def truncate(self, n: int) -> Interactions:
        """The last ``n`` interactions of each user."""
        lengths = np.minimum(self.lengths, n)
        return self._spans(self.offsets[1:] - lengths, lengths)

    def drop_last(self, k: int) -> Interactions:
        """All but the last ``k`` interactions of each user; shorter users become empty."""
        return self._spans(self.offsets[:-1], np.maximum(self.lengths - k, 0))

    def min_length(self, k: int) -> tuple[Interactions, np.ndarray]:
        """Users with at least ``k`` interactions, and their numbers in the original."""
        kept = np.flatnonzero(self.lengths >= k)
        return self.select(kept), kept

    def last(self, k: int = 1) -> np.ndarray:
        """The k-th item from the end of each user.

        Args:
            k: 1 for the last one.

        Returns:
            Item numbers, int32 [users].

        Raises:
            ValueError: if a user has fewer; the place would belong to somebody else.
        """
        if len(self) and self.lengths.min() < k:
            raise ValueError(f"a user has fewer than {k} interactions; use min_length({k}) first")
        return self.items[self.offsets[1:] - k]

    def counts(self) -> np.ndarray:
        """How often each item occurs, int64 [n_items + 1]."""
        return np.bincount(self.items, minlength=self.n_items + 1)

    def padded(self, users: Sequence[int] | np.ndarray, max_len: int) -> np.ndarray:
        """The last items of some users, padded with 0 on the right.

        Args:
            users: their numbers [k].
            max_len: items a user.

        Returns:
            Item numbers, int64 [k, longest of them].
        """
        users = _numbers(users)
        # From the offsets: self.lengths would look at all users for each batch.
        lengths = np.minimum(self.offsets[users + 1] - self.offsets[users], max_len)
        width = int(lengths.max(initial=0))
        column = np.arange(width)
        index = (self.offsets[users + 1] - lengths)[:, None] + column
        inside = column < lengths[:, None]
        return np.where(inside, self.items[np.where(inside, index, 0)], 0).astype(np.int64)

    def sample(self, share: float, seed: int) -> np.ndarray:
        """A random share of the users; with one seed a smaller share is contained in a larger one.

        Args:
            share: from 0 to 1; one user is the least.
            seed: of the draw.

        Returns:
            Their numbers, ascending, int64 [k].
        """
        order = np.random.default_rng(seed).permutation(len(self))
        return np.sort(order[: max(1, round(share * len(self)))])

    def subsample(self, fraction: float, seed: int) -> Interactions:
        """A random share of the users, see :meth:`sample`."""
        return self.select(self.sample(fraction, seed))

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.n_items}".encode())
        digest.update(np.ascontiguousarray(self.items, dtype=np.int32).tobytes())
        digest.update(np.ascontiguousarray(self.offsets, dtype=np.int64).tobytes())
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 of the content."""
        return self._fingerprint


def _numbers(users: Sequence[int] | np.ndarray) -> np.ndarray:
    """User numbers as an array that can index, an empty list included."""
    users = np.asarray(users)
    return users if users.size else users.astype(np.int64)


@dataclass(frozen=True)
class Split:
    """Leave-one-out: a user's last item is for the test, the one before for validation, the rest for
    training.

    Training and validation may be restricted to fewer users than the test.

    Attributes:
        train: histories without the last two items; what validation starts from, too.
        valid_target: item numbers, int32 [users of train].
        test_history: histories without the last item.
        test_target: item numbers, int32 [users of test_history].
    """

    train: Interactions
    valid_target: np.ndarray
    test_history: Interactions
    test_target: np.ndarray

    @property
    def valid_history(self) -> Interactions:
        """What each user had before the validation item: the training part."""
        return self.train

    def restricted(self, users: np.ndarray) -> Split:
        """Training and validation of these users only; the test stays as it is."""
        return Split(self.train.select(users), self.valid_target[users], self.test_history, self.test_target)


def leave_one_out(interactions: Interactions, min_length: int = 3) -> tuple[Split, int]:
    """Splits off the last two items of each user.

    Args:
        interactions: whole histories.
        min_length: users with fewer interactions (or fewer than three) are dropped.

    Returns:
        The split, and how many users were dropped because they have fewer than ``min_length`` interactions.
    """
    kept, _ = interactions.min_length(max(3, min_length))
    split = Split(kept.drop_last(2), kept.last(2), kept.drop_last(1), kept.last(1))
    return split, len(interactions) - len(kept)
