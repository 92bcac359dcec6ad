"""What a reader returns: histories with titles and picture files, not yet tokens and pixels; and what
there is to say about it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from transrec_core.data.interactions import Interactions

_YEAR = re.compile(r"\((\d{4})\)\s*$")


@dataclass(frozen=True)
class Report:
    """Facts about a dataset.

    Attributes:
        name: of the folder or file.
        users: number of users.
        items: number of items.
        interactions: number of interactions.
        length_min: fewest interactions of a user.
        length_median: median over users.
        length_mean: mean over users.
        length_max: most interactions of a user.
        users_under_5: users with fewer than five interactions.
        repeats: interactions with an item that the same user had before.
        items_without_interactions: items that nobody had.
        items_without_title: None if there are no titles at all.
        duplicate_titles: items that share their title with another; None if there are no titles at all.
        items_without_picture: None if there are no pictures at all.
        last_items_nowhere_else: users whose last item is in nobody's training part (all but the last two): as
            a test item it is cold, and only its content can tell anything.
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
        name: of the folder or file.
        item_ids: the items' own ids; index 0 is padding ("").
        titles: index as item_ids, "" where there is none; None if the source has none.
        image_paths: likewise, None for an item without a picture.
        interactions: histories in item numbers.
        user_ids: the users' own ids, in the order of ``interactions``; None if they have none.
        notes: what the reader changed, one sentence each.
    """

    name: str
    item_ids: list[str]
    titles: list[str] | None
    image_paths: list[Path | None] | None
    interactions: Interactions
    user_ids: list[str] | None = None
    notes: tuple[str, ...] = ()

    def keep_users(self, users: np.ndarray) -> RawDomain:
        """Some users only.

        Args:
            users: their numbers, int64 [k].
        """
        ids = None if self.user_ids is None else [self.user_ids[user] for user in users]
        return replace(self, interactions=self.interactions.select(users), user_ids=ids)

    def min_length(self, k: int) -> RawDomain:
        """Users with at least ``k`` interactions."""
        return self.keep_users(np.flatnonzero(self.interactions.lengths >= k))

    def keep_items(self, keep: np.ndarray) -> RawDomain:
        """Some items only, renumbered; interactions with others are dropped, users stay.

        Args:
            keep: true for the items that stay, bool [items + 1].
        """
        keep = keep.copy()
        keep[0] = True
        chosen = np.flatnonzero(keep)
        number = np.zeros(len(keep), dtype=np.int32)
        number[chosen] = np.arange(len(chosen))
        inter = self.interactions
        inside = keep[inter.items]
        before = np.concatenate([[0], np.cumsum(inside)])
        items, offsets = number[inter.items[inside]], before[inter.offsets].astype(np.int64)
        titles, paths = self.titles, self.image_paths
        return replace(
            self,
            item_ids=[self.item_ids[i] for i in chosen],
            titles=None if titles is None else [titles[i] for i in chosen],
            image_paths=None if paths is None else [paths[i] for i in chosen],
            interactions=Interactions(items, offsets, len(chosen) - 1),
        )

    def min_item_users(self, k: int) -> RawDomain:
        """Items that at least ``k`` different users had."""
        return self.keep_items(item_users(self.interactions) >= k)

    def k_core(self, min_user: int, min_item: int) -> RawDomain:
        """The largest part in which users have enough interactions, and items enough users.

        Dropping items shortens users and dropping users takes items' users away, so both are repeated until
        nothing changes.

        Args:
            min_user: fewest interactions of a user.
            min_item: fewest different users of an item.
        """
        raw = self
        while True:
            kept = raw.min_length(min_user)
            enough = item_users(kept.interactions) >= min_item
            if len(kept.interactions) == len(raw.interactions) and enough[1:].all():
                return raw
            raw = kept.keep_items(enough)

    def report(self) -> Report:
        """Counts what there is."""
        inter, titles, paths = self.interactions, self.titles, self.image_paths
        lengths, counts = inter.lengths, inter.counts()
        last = inter.select(np.flatnonzero(lengths)).last(1)
        by_title = None if titles is None else Counter(title for title in titles[1:] if title)
        return Report(
            name=self.name,
            users=len(inter),
            items=len(self.item_ids) - 1,
            interactions=len(inter.items),
            length_min=int(lengths.min()) if len(inter) else 0,
            length_median=float(np.median(lengths)) if len(inter) else 0.0,
            length_mean=float(lengths.mean()) if len(inter) else 0.0,
            length_max=int(lengths.max(initial=0)),
            users_under_5=int((lengths < 5).sum()),
            repeats=len(inter.items) - n_distinct_pairs(inter),
            items_without_interactions=int((counts[1:] == 0).sum()),
            items_without_title=None if titles is None else sum(not title for title in titles[1:]),
            duplicate_titles=None if by_title is None else sum(n for n in by_title.values() if n > 1),
            items_without_picture=None if paths is None else sum(path is None for path in paths[1:]),
            last_items_nowhere_else=int((inter.drop_last(2).counts()[last] == 0).sum()),
        )


def _pairs(inter: Interactions) -> np.ndarray:
    owner = np.repeat(np.arange(len(inter)), inter.lengths)
    # Sorted by hand: np.unique hashes integers, which takes ten times as long.
    pairs = np.sort(owner * (inter.n_items + 1) + inter.items)
    return pairs[np.diff(pairs, prepend=-1) > 0]


def n_distinct_pairs(inter: Interactions) -> int:
    """Number of different (user, item) pairs."""
    return len(_pairs(inter))


def item_users(inter: Interactions) -> np.ndarray:
    """How many different users had each item, int64 [items + 1]."""
    return np.bincount(_pairs(inter) % (inter.n_items + 1), minlength=inter.n_items + 1)


def title_years(titles: list[str]) -> np.ndarray:
    """Years of titles like "Heat (1995)", 0 where there is none, int64 [titles]."""
    years = (_YEAR.search(title) for title in titles)
    return np.array([int(year.group(1)) if year else 0 for year in years])
