"""From a line of a specification to a domain: a dataset folder with declared filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from transrec_core.base.config import StrictModel
from transrec_core.base.errors import UserError
from transrec_core.data.catalog import IdCatalog, decode_images, tokenize_titles
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import leave_one_out
from transrec_core.data.raw import RawDomain, title_years
from transrec_core.data.readers import read_folder
from transrec_core.data.reading import PictureReader, Reader, TitleReader

WORLD = "world"


class DataSpec(StrictModel):
    """Which domain, and what of it. Every filter is here, so that a record can be repeated from the folder
    alone.

    Attributes:
        folder: "world:source" or "world:target" for the embedded world, else a dataset folder (relative to
            the data root).
        modality: "text", "image", or "id" for the baseline without content.
        titles: how much the embedded world's titles tell; no meaning elsewhere.
        min_user: users with fewer interactions are dropped.
        min_item: items with fewer users are dropped (once, before the users).
        max_users: keep a random subset of this many users (seed 0).
        last: keep the last so many interactions of a user.
        share: share of the users that training and validation see; smaller shares are contained in larger
            ones, and everybody is tested.
        share_seed: what the share is drawn with.
        years: first and last year of films kept, from titles like "Heat (1995)".
        half: keep users with an even (0) or odd (1) number.
        max_tokens: longest title in tokens.
        image_size: pictures are cut to this many pixels square.
    """

    folder: str = "world:target"
    modality: Literal["text", "image", "id"] = "text"
    titles: Literal["informative", "vague"] = "informative"
    min_user: int = Field(5, ge=3)
    min_item: int = Field(1, ge=1)
    max_users: int | None = Field(None, ge=1)
    last: int | None = Field(None, ge=3)
    years: tuple[int, int] | None = None
    half: Literal[0, 1] | None = None
    share: float = Field(1.0, gt=0, le=1)
    share_seed: int = Field(0, ge=0)
    max_tokens: int = Field(30, ge=3)
    image_size: int = Field(64, ge=8)

    @property
    def is_world(self) -> bool:
        """Whether this is the embedded world, and no dataset folder."""
        return self.folder.startswith(WORLD + ":")


def load_folder(spec: DataSpec, data_root: Path = Path(), tokenizer: Any = None) -> Domain:
    """The domain in a dataset folder, after the filters of a specification.

    Args:
        spec: see :class:`DataSpec`.
        data_root: where relative folders start.
        tokenizer: of the text encoder.

    Raises:
        UserError: if the folder does not exist, or a filter leaves nobody.
    """
    raw = filtered(read_folder(data_root / spec.folder), spec).min_length(spec.min_user)
    reader: Reader | None = None
    if spec.modality == "text":
        assert raw.titles is not None
        catalog: Any = tokenize_titles(raw.titles, tokenizer, spec.max_tokens)
        reader = TitleReader(tokenizer, spec.max_tokens)
    elif spec.modality == "image":
        assert raw.image_paths is not None
        catalog = decode_images(raw.image_paths, spec.image_size)
        reader = PictureReader(spec.image_size)
    else:
        catalog = IdCatalog(raw.interactions.n_items)
    domain = Domain(raw.name, catalog, raw.interactions, raw.item_ids, user_ids=raw.user_ids, reader=reader)
    return sampled(domain, spec)


def sampled(domain: Domain, spec: DataSpec) -> Domain:
    """The domain, training and validation restricted to the share of users that a specification asks for."""
    if spec.share == 1:
        return domain
    return replace(domain, sample=domain.interactions.sample(spec.share, spec.share_seed))


def filtered(raw: RawDomain, spec: DataSpec) -> RawDomain:
    """Applies the filters of a specification, in the order of :func:`filter_steps`.

    Args:
        raw: a dataset as read.
        spec: which filters.

    Raises:
        UserError: if the items lack what the modality needs, or no user with ``min_user`` interactions is
            left; names the filter that removed the last one.
    """
    users = _long_enough(raw, spec)
    if not users:
        raise UserError(f"{spec.folder}: no user has {spec.min_user} interactions; lower min_user")
    for name, left in filter_steps(raw, spec):
        if not _long_enough(left, spec):
            raise UserError(
                f"{spec.folder}: the filter '{name}' leaves none of {users:,} users with {spec.min_user} "
                f"interactions; relax it, or lower min_user"
            )
        raw, users = left, _long_enough(left, spec)
    return raw


def _long_enough(raw: RawDomain, spec: DataSpec) -> int:
    return int((raw.interactions.lengths >= spec.min_user).sum())


def filter_steps(raw: RawDomain, spec: DataSpec) -> Iterator[tuple[str, RawDomain]]:
    """What each filter of a specification leaves: half, items without content and years, min_item,
    max_users, last.

    Args:
        raw: a dataset as read.
        spec: which filters.

    Yields:
        The filter in words, and the dataset after it.

    Raises:
        UserError: if the items lack what the modality needs.
    """
    if spec.half is not None:
        raw = raw.keep_users(np.arange(spec.half, len(raw.interactions), 2))
        yield f"half {spec.half} of the users", raw
    keep = np.ones(len(raw.item_ids), dtype=bool)
    if spec.modality == "text":
        if raw.titles is None:
            raise UserError(f"{spec.folder}: items.tsv has no titles; choose modality image or id")
        keep &= np.array([bool(t) for t in raw.titles])
    if spec.modality == "image":
        if raw.image_paths is None:
            raise UserError(f"{spec.folder}: there is no images/ folder; choose modality text or id")
        keep &= np.array([p is not None for p in raw.image_paths])
    if spec.years is not None:
        if raw.titles is None:
            raise UserError(f"{spec.folder}: 'years' needs titles that end in a year, like 'Heat (1995)'")
        years = title_years(raw.titles)
        keep &= (years >= spec.years[0]) & (years <= spec.years[1])
    keep[0] = True
    if not keep.all():
        raw = raw.keep_items(keep)
        years_kept = f", years {spec.years[0]} to {spec.years[1]}" if spec.years is not None else ""
        yield f"items with content{years_kept}", raw
    if spec.min_item > 1:
        raw = raw.min_item_users(spec.min_item)
        yield f"items of at least {spec.min_item} users", raw
    lengths = raw.interactions.lengths
    if spec.max_users is not None:
        able = np.flatnonzero(lengths >= spec.min_user)
        raw = raw.keep_users(np.sort(np.random.default_rng(0).permutation(able)[: spec.max_users]))
        yield f"at most {spec.max_users:,} users", raw
    if spec.last is not None:
        raw = replace(raw, interactions=raw.interactions.truncate(spec.last))
        yield f"the last {spec.last} of each user", raw


def filter_effects(spec: DataSpec, data_root: Path) -> dict[str, Any]:
    """What the filters of a dataset folder leave, and what is special about the test targets; counts only.

    Args:
        spec: folder and filters.
        data_root: where relative folders start.

    Returns:
        "folder", "steps" (a list of "filter", "users", "items", "interactions"; the first is what was read,
        the last what is used), "targets", "cold targets" (in nobody's training part), "targets with another's
        title" (several items of one title can't be told apart by it).
    """
    raw = read_folder(data_root / spec.folder)
    rows = [("as read", raw), *filter_steps(raw, spec)]
    kept = rows[-1][1].min_length(spec.min_user)
    rows.append((f"users of at least {spec.min_user} interactions", kept))
    split, _ = leave_one_out(kept.interactions)
    titles = Counter(title for title in (kept.titles or [])[1:] if title)
    twins = 0 if kept.titles is None else sum(titles[kept.titles[item]] > 1 for item in split.test_target)
    return {
        "folder": spec.folder,
        "steps": [
            {
                "filter": name,
                "users": int((left.interactions.lengths > 0).sum()),
                "items": len(left.item_ids) - 1,
                "interactions": len(left.interactions.items),
            }
            for name, left in rows
        ],
        "targets": len(split.test_target),
        "cold targets": int((split.train.counts()[split.test_target] == 0).sum()),
        "targets with another's title": twins,
    }
