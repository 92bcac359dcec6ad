"""What a reader returns: histories with titles and picture files, not yet tokens and pixels; and what
there is to say about it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from transrec_core.data.interactions import Interactions

_YEAR = re.compile(r"\((\d{4})\)\s*$")


class Report(BaseModel):
    """Facts about a dataset; lengths are interactions for each user. ``last_items_nowhere_else`` counts
    the users whose last item is in nobody's training part (all but the last two): as a test item it is
    cold, and only its content can tell anything.
    """

    name: str
    users: int
    items: int
    interactions: int
    length_min: int
    length_median: float
    length_mean: float
    length_max: int
    users_under_5: int
    repeats: int
    items_without_interactions: int
    items_without_title: int | None
    duplicate_titles: int | None
    items_without_picture: int | None
    last_items_nowhere_else: int


@dataclass
class RawDomain:
    """Histories and content as read.

    Attributes:
        item_ids: the items' own ids; index 0 is padding ("").
        titles: index as item_ids, "" where there is none; None if the source has none.
        image_paths: likewise, None for an item without a picture.
        interactions: histories in item numbers.
    """

    name: str
    item_ids: list[str]
    titles: list[str] | None
    image_paths: list[Path | None] | None
    interactions: Interactions

    def keep_users(self, users: np.ndarray) -> RawDomain:
        """These users only."""
        return replace(self, interactions=self.interactions.select(users))

    def keep_items(self, keep: np.ndarray) -> RawDomain:
        """The items with ``keep`` [items + 1] true, renumbered; interactions with others are dropped,
        users stay.
        """
        keep = keep.copy()
        keep[0] = True
        chosen = np.flatnonzero(keep)
        number = np.zeros(len(keep), dtype=np.int32)
        number[chosen] = np.arange(len(chosen))
        inter = self.interactions
        inside = keep[inter.items]
        before = np.concatenate([[0], np.cumsum(inside)])
        kept = Interactions(
            number[inter.items[inside]], before[inter.offsets].astype(np.int64), len(chosen) - 1
        )
        return RawDomain(
            self.name,
            [self.item_ids[i] for i in chosen],
            [self.titles[i] for i in chosen] if self.titles is not None else None,
            [self.image_paths[i] for i in chosen] if self.image_paths is not None else None,
            kept,
        )

    def min_item_users(self, k: int) -> RawDomain:
        """Items that at least ``k`` different users had."""
        return self.keep_items(item_users(self.interactions) >= k)

    def k_core(self, min_user: int, min_item: int) -> RawDomain:
        """The largest part in which every user has ``min_user`` interactions and every item ``min_item``
        different users.

        Dropping items shortens users and dropping users takes items' users away, so both are repeated until
        nothing changes.
        """
        raw = self
        while True:
            kept, users = raw.interactions.min_length(min_user)
            enough = item_users(kept) >= min_item
            if len(users) == len(raw.interactions) and enough[1:].all():
                return raw
            raw = replace(raw, interactions=kept).keep_items(enough)

    def report(self) -> Report:
        """Counts what there is."""
        inter = self.interactions
        lengths, n = inter.lengths, len(self.item_ids) - 1
        counts = inter.counts()
        last = (
            inter.last(1)
            if len(inter) and lengths.min() > 0
            else inter.select(np.flatnonzero(lengths)).last(1)
        )
        titles = Counter(t for t in self.titles[1:] if t) if self.titles is not None else None
        return Report(
            name=self.name,
            users=len(inter),
            items=n,
            interactions=len(inter.items),
            length_min=int(lengths.min()) if len(inter) else 0,
            length_median=float(np.median(lengths)) if len(inter) else 0.0,
            length_mean=float(lengths.mean()) if len(inter) else 0.0,
            length_max=int(lengths.max(initial=0)),
            users_under_5=int((lengths < 5).sum()),
            repeats=len(inter.items) - n_distinct_pairs(inter),
            items_without_interactions=int((counts[1:] == 0).sum()),
            items_without_title=sum(not t for t in self.titles[1:]) if self.titles is not None else None,
            duplicate_titles=sum(c for c in titles.values() if c > 1) if titles is not None else None,
            items_without_picture=sum(p is None for p in self.image_paths[1:])
            if self.image_paths is not None
            else None,
            last_items_nowhere_else=int((inter.drop_last(2).counts()[last] == 0).sum()),
        )


def _pairs(inter: Interactions) -> np.ndarray:
    owner = np.repeat(np.arange(len(inter)), inter.lengths)
    pairs = np.sort(
        owner * (inter.n_items + 1) + inter.items
    )  # np.unique hashes integers, which takes ten times as long
    return pairs[np.diff(pairs, prepend=-1) > 0]


def n_distinct_pairs(inter: Interactions) -> int:
    """Number of different (user, item) pairs."""
    return len(_pairs(inter))


def item_users(inter: Interactions) -> np.ndarray:
    """How many different users had each item, int64 [items + 1]."""
    return np.bincount(_pairs(inter) % (inter.n_items + 1), minlength=inter.n_items + 1)


def title_years(titles: list[str]) -> np.ndarray:
    """Years of titles like "Heat (1995)", 0 where there is none, int [len(titles)]."""
    found = (_YEAR.search(title) for title in titles)
    return np.array([int(m.group(1)) if m else 0 for m in found])
