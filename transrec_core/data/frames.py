"""pandas frames -> histories and catalogues. Refusals name the frame, the column or row, and the way out.

interactions    user, item, timestamp: a row for each time that somebody had something
items           item, title [, picture]: a row for each item; a picture is a file's path
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.data.ids import Id, id_text, numbered, plain_id
from transrec_core.data.interactions import Interactions
from transrec_core.data.reading import PictureReader, Reader

if TYPE_CHECKING:
    import pandas as pd

CHANGES_NO_RESULT = True


@dataclass(frozen=True)
class Columns:
    """Names of the columns; ``timestamp`` None says that the rows are in time order."""

    user: str = "user"
    item: str = "item"
    timestamp: str | None = "timestamp"
    title: str = "title"
    picture: str = "picture"


@dataclass(frozen=True)
class Histories:
    """What :func:`read_interactions` made.

    Attributes:
        interactions: of the users that are long enough, in the order of their first interactions.
        user_ids: theirs.
        left_out: how many users were shorter.
    """

    interactions: Interactions
    user_ids: list[Id]
    left_out: int


def read_items(items: pd.DataFrame, reader: Reader, columns: Columns) -> tuple[list[Id], list[str]]:
    """Ids of the items, and their titles or the paths of their pictures.

    Args:
        items: one row an item.
        reader: what will read them; says whether it is titles or pictures.
        columns: which hold what.

    Raises:
        UserError: if a column is missing, an id or a title is, or an item is there twice.
    """
    content = columns.picture if isinstance(reader, PictureReader) else columns.title
    what = "picture" if isinstance(reader, PictureReader) else "title"
    ids = _ids(items, "items", "item", columns.item)
    index = numbered(ids)
    if len(index) < len(ids):
        first: dict[str, int] = {}
        row = next(n for n, value in enumerate(ids) if first.setdefault(id_text(value), n) != n)
        other = _row(items, first[id_text(ids[row])])
        raise UserError(
            f"items, {_row(items, row)}: item {ids[row]!r} is there already ({other}); keep one row an item"
        )
    column = _column(items, "items", what, content)
    absent = column.isna().to_numpy()
    texts = ["" if gone else str(value).strip() for gone, value in zip(absent, column.tolist(), strict=True)]
    empty = [n for n, text in enumerate(texts) if not text]
    if empty:
        raise UserError(
            f"items, {_row(items, empty[0])}: item {ids[empty[0]]!r} has no {what} ({len(empty):,} of "
            f"{len(ids):,} have none); give it one, or take it out of both frames"
        )
    return ids, texts


def read_interactions(
    interactions: pd.DataFrame, item_ids: Sequence[Id], columns: Columns, min_user: int
) -> Histories:
    """Each user's items, oldest first; where times are equal, the order of the rows holds.

    Args:
        interactions: one row an interaction.
        item_ids: of the catalogue's items 1, 2, ...
        columns: which hold what.
        min_user: shorter users are left out.

    Raises:
        UserError: if a column is missing, a user, item or time is, an item is not in the catalogue, or nobody
            is long enough.
    """
    if min_user < 3:
        raise UserError(f"min_user={min_user}: 3 are the least (one to read, to validate and to test)")
    import pandas as pd

    users = _column(interactions, "interactions", "user", columns.user)
    items = _column(interactions, "interactions", "item", columns.item)
    for column in (users, items):
        _complete(interactions, "interactions", column)
    codes, different = pd.factorize(items)
    index = numbered(item_ids)
    numbers = np.array([index.get(id_text(value), 0) for value in different], dtype=np.int32)
    unknown = np.flatnonzero(numbers == 0)
    if len(unknown):
        row = int((codes == unknown[0]).argmax())
        raise UserError(
            f"interactions, {_row(interactions, row)}: item {plain_id(different[unknown[0]])!r} has no row "
            f"in items (items without one: {len(unknown):,}); add them, or take their interactions out"
        )
    order = np.arange(len(users))
    if columns.timestamp is not None:
        order = _in_time(interactions, columns.timestamp)
    people, names = pd.factorize(users.iloc[order])
    by_user = np.argsort(people, kind="stable")  # within a user the order of time stays
    offsets = np.concatenate([[0], np.cumsum(np.bincount(people, minlength=len(names)))])
    everybody = Interactions(numbers[codes[order[by_user]]], offsets.astype(np.int64), len(item_ids))
    kept, places = everybody.min_length(min_user)
    if not len(kept):
        raise UserError(
            f"interactions: no user has {min_user} of them (the longest history has "
            f"{int(everybody.lengths.max())}); lower min_user (3 are the least)"
        )
    return Histories(kept, [plain_id(names[place]) for place in places], len(everybody) - len(kept))


def _in_time(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Places of the rows by time; equal times keep the rows' order."""
    import pandas as pd

    times = _column(
        frame, "interactions", "timestamp", name, "pass timestamp=None if the rows are in time order"
    )
    _complete(frame, "interactions", times)
    if isinstance(times.dtype, pd.CategoricalDtype):
        times = times.astype(times.cat.categories.dtype)
    values = times.tolist()
    if all(isinstance(value, str) for value in values):
        whole = np.array([value.removeprefix("-").isdecimal() for value in values])
        if whole.all():
            times = pd.Series([int(value) for value in values])
        else:
            times = pd.to_datetime(times, format="ISO8601", utc=True, errors="coerce")
        wrong = np.flatnonzero(~whole if whole.any() else times.isna().to_numpy())
        if len(wrong):
            raise UserError(
                f"interactions, {_row(frame, int(wrong[0]))}: '{values[wrong[0]][:40]}' in '{name}' is no "
                "time; turn the column into numbers or dates (pandas.to_datetime)"
            )
    try:
        return times.argsort(kind="stable").to_numpy()  # type: ignore[no-any-return]
    except TypeError:
        kinds = sorted({type(value).__name__ for value in values})
        raise UserError(
            f"interactions: '{name}' mixes {', '.join(kinds)}, which have no order; make it one kind "
            "(pandas.to_datetime)"
        ) from None


def _ids(frame: pd.DataFrame, called: str, what: str, name: str) -> list[Id]:
    column = _column(frame, called, what, name)
    _complete(frame, called, column)
    return [plain_id(value) for value in column.tolist()]


def _column(frame: pd.DataFrame, called: str, what: str, name: str, way_out: str = "") -> pd.Series[Any]:
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"{called}: a {type(frame).__name__} is no pandas data frame; give a DataFrame")
    names = [str(column) for column in frame.columns]
    if names.count(name) != 1:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
        option = f"name it with {what}={near[0] if near else 'COLUMN'!r}"
        problem = f"no column '{name}'" if name not in names else f"several columns are called '{name}'"
        ways = " or ".join(way for way in (option, way_out) if way)
        raise UserError(f"{called}: {problem} (there are: {', '.join(names) or 'none'}); {ways}")
    if frame.empty:
        raise UserError(f"{called}: the frame has no rows")
    return frame[frame.columns[names.index(name)]]


def _complete(frame: pd.DataFrame, called: str, column: pd.Series[Any]) -> None:
    absent = np.flatnonzero(column.isna().to_numpy())
    if len(absent):
        raise UserError(
            f"{called}, {_row(frame, int(absent[0]))}: no value in '{column.name}' (rows without "
            f"one: {len(absent):,}); fill them or take them out"
        )


def _row(frame: pd.DataFrame, place: int) -> str:
    """A row as its owner finds it."""
    return f"row {frame.index[place]}"


def picture_paths(ids: Sequence[Id], texts: Sequence[str], folder: Path) -> list[Path]:
    """Paths of pictures.

    Args:
        ids: of their items, for the message.
        texts: paths, relative ones to ``folder``.
        folder: where relative paths start.

    Raises:
        UserError: if a file is not there.
    """
    paths = [folder / text for text in texts]
    for value, path in zip(ids, paths, strict=True):
        if not path.is_file():
            raise UserError(f"items: the picture of item {value!r} is not there: {path}")
    return paths
