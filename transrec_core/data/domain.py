"""A domain: a catalogue, and who had what of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.data.catalog import Catalog
from transrec_core.data.ids import Id, id_text
from transrec_core.data.interactions import Interactions, Split, leave_one_out

if TYPE_CHECKING:
    import pandas as pd

    from transrec_core.data.reading import Reader


@dataclass(repr=False)
class Domain:
    """What a model is trained and tested on.

    Attributes:
        name: for tables.
        catalog: content of the items.
        interactions: histories (users under the minimum length are out already).
        item_ids: the items' own ids (index 0 unused).
        extra: further test users, never trained on; their last item is a test case.
        sample: users that training and validation see, ascending; None means all. Everybody is tested all the
            same.
        truth: latent factors of the embedded world, for drawings and the oracle; nothing trains on them.
        user_ids: the users' own ids, if known.
        reader: what made the catalogue of titles or pictures, for those of new items.
        left_out: users that were too short.
    """

    name: str
    catalog: Catalog
    interactions: Interactions
    item_ids: Sequence[Id] | None = None
    extra: Interactions | None = None
    sample: np.ndarray | None = None
    truth: dict[str, np.ndarray] | None = None
    user_ids: Sequence[Id] | None = None
    reader: Reader | None = None
    left_out: int = field(default=0, compare=False)

    @classmethod
    def from_frame(
        cls,
        interactions: pd.DataFrame,
        items: pd.DataFrame,
        tokenizer: Any = None,
        *,
        user: str = "user",
        item: str = "item",
        timestamp: str | None = "timestamp",
        title: str = "title",
        picture: str = "picture",
        min_user: int = 5,
        max_tokens: int = 30,
        image_size: int = 64,
        picture_folder: str | Path = ".",
        name: str = "frames",
        cache: bool = True,
    ) -> Domain:
        """A domain from two pandas frames, its items read by their titles, or by their pictures if there is
        no tokenizer.

        Ids are texts or whole numbers of any type and are shown back as given; 17 and "17" are the same id.
        Interactions are ordered by time; where times are equal, the order of the rows holds. Every item of
        ``items`` belongs to the catalogue, also if nobody had it.

        Args:
            interactions: one row for each time that a user had an item.
            items: one row an item.
            tokenizer: of the titles: the folder or hub name of the text encoder, or a tokenizer. None reads
                the pictures.
            user: column of ``interactions``.
            item: column of both frames.
            timestamp: column of ``interactions``: numbers, dates, or dates as text. None says that the rows
                are in time order already.
            title: column of ``items``.
            picture: column of ``items``: paths of JPEG, PNG or WebP files.
            min_user: users with fewer interactions are left out (3 are the least: one to read, to validate
                and to test; a user trains with 4).
            max_tokens: longer titles are cut, special tokens included in the count.
            image_size: pictures are cut to so many pixels square: the size that the encoder reads.
            picture_folder: where relative paths start.
            name: of the domain, for tables.
            cache: whether tokens and pixels are kept on disk for the next time.

        Raises:
            UserError: one line that names the frame, the row and the way out: a column, id, title, picture or
                time is missing, an item is there twice or has no row in ``items``, nobody is long enough, or
                there is no such tokenizer.
        """
        from transrec_core.data.frames import Columns, picture_paths, read_interactions, read_items
        from transrec_core.data.reading import PictureReader, TitleReader

        columns = Columns(user, item, timestamp, title, picture)
        if tokenizer is None and picture not in getattr(items, "columns", [picture]):
            raise UserError(
                "from_frame: titles need tokenizer=FOLDER_OR_NAME of their encoder (pictures: a column "
                f"'{picture}' of paths in items)"
            )
        reader: Any = (
            TitleReader.of(tokenizer, max_tokens) if tokenizer is not None else PictureReader(image_size)
        )
        ids, contents = read_items(items, reader, columns)
        histories = read_interactions(interactions, ids, columns, min_user)
        paths = picture_paths(ids, contents, Path(picture_folder)) if tokenizer is None else contents
        catalog = reader.catalog(paths, cache)
        return cls(
            name,
            catalog,
            histories.interactions,
            ["", *ids],
            user_ids=histories.user_ids,
            reader=reader,
            left_out=histories.left_out,
        )

    def __repr__(self) -> str:
        users, shorter = len(self.interactions), f" ({self.left_out:,} shorter ones left out)"
        return (
            f"Domain {self.name!r}: {users:,} users{shorter if self.left_out else ''}, "
            f"{self.catalog.n_items:,} items read by {self.catalog.modality}, "
            f"{len(self.interactions.items):,} interactions"
        )

    def history(self, user: Id) -> list[Id]:
        """What a user had, oldest first, as ``recommend`` takes it.

        Args:
            user: an id.

        Raises:
            UserError: if there is no such user, or the domain knows no ids.
        """
        if self.user_ids is None or self.item_ids is None:
            raise UserError(f"the domain '{self.name}' knows no ids of users and items")
        if id_text(user) not in self._places:
            raise UserError(f"no user {user!r} in the domain '{self.name}' (too short, or not in its frame)")
        numbers = self.interactions.user(self._places[id_text(user)])
        return [self.item_ids[number] for number in numbers]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id_text(user): place for place, user in enumerate(self.user_ids or ())}

    @cached_property
    def split(self) -> Split:
        """Leave-one-out split of the interactions, training and validation restricted to the sampled
        users.
        """
        split = leave_one_out(self.interactions)[0]
        return split if self.sample is None else split.restricted(self.sample)

    @cached_property
    def _fingerprint(self) -> str:
        parts: list[Any] = [self.catalog.fingerprint(), self.interactions.fingerprint()]
        parts += [self.extra.fingerprint()] if self.extra is not None else []
        parts += [hashlib.sha256(self.sample.tobytes()).hexdigest()] if self.sample is not None else []
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def fingerprint(self) -> str:
        """SHA-256 over content and interactions."""
        return self._fingerprint
