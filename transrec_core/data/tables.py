"""Long tables of interactions, one a row, and RecBole's atomic files."""

from __future__ import annotations

import csv
import io
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import pandas as pd

from transrec_core.base.errors import UserError
from transrec_core.data.interactions import Interactions
from transrec_core.data.raw import RawDomain
from transrec_core.data.readers import read_text, shown


def read_table(
    path: str | Path,
    user: str = "user_id",
    item: str = "item_id",
    time: str = "timestamp",
    titles: str | Path | None = None,
    item_title: str = "title",
) -> RawDomain:
    """Reads a long table, one interaction a row.

    Args:
        path: a .csv, .tsv or .parquet file.
        user: column of the user.
        item: column of the item.
        time: column of the time: numbers, or ISO dates.
        titles: a table with the columns ``item`` and ``item_title``.
        item_title: column of the title.

    Raises:
        UserError: missing file or column, a short line, an empty cell, a time that is no number or ISO date,
            an item without a title row.
    """
    frame = _frame(Path(path), (user, item, time))
    listed = None if titles is None else _frame(Path(titles), (item, item_title), item_title)
    return _long(Path(path), frame, Path(titles or ""), listed)


def read_recbole(
    inter: str | Path,
    item: str | Path | None = None,
    title: str = "title",
    user_column: str = "user_id",
    item_column: str = "item_id",
    time_column: str = "timestamp",
) -> RawDomain:
    """Reads RecBole's atomic files, which have TABs and a first line of "name:type".

    Args:
        inter: the ``.inter`` file.
        item: the ``.item`` file, for titles.
        title: column of the title there.
        user_column: column of the user.
        item_column: column of the item, in both files.
        time_column: column of the time.

    Raises:
        UserError: as :func:`read_table`.
    """
    frame = _frame(Path(inter), (user_column, item_column, time_column), atomic=True)
    listed = None if item is None else _frame(Path(item), (item_column, title), title, atomic=True)
    return _long(Path(inter), frame, Path(item or ""), listed)


def _long(path: Path, frame: pd.DataFrame, titles: Path, listed: pd.DataFrame | None) -> RawDomain:
    """Histories from the columns (user, item, time) of ``frame`` and titles from those (item, title) of
    ``listed``.
    """
    user, item, time = frame.columns
    stamps = _stamps(path, frame[time])
    notes = [*_trimmed(path, frame, user), *_trimmed(path, frame, item)]
    if listed is None:
        ids = {name: number for number, name in enumerate(frame[item].drop_duplicates(), 1)}
        names = None
    else:
        notes += _trimmed(titles, listed, item)
        ids, names = _listed(titles, listed), ["", *(" ".join(title.split()) for title in listed.iloc[:, 1])]
        unknown = ~frame[item].isin(ids)
        if unknown.any():
            row = unknown.idxmax()
            raise UserError(
                f"{path}, {_at(frame, row)}: item '{shown(frame[item][row])}' is not in {titles}; "
                f"add it there or remove it here"
            )
    owner, users = pd.factorize(frame[user])
    # Within a user by time; equal times in the order of the file.
    order = np.lexsort((np.arange(len(frame)), stamps, owner))
    items = frame[item].map(ids).to_numpy(dtype=np.int32)[order]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))]).astype(np.int64)
    interactions = Interactions(items, offsets, len(ids))
    return RawDomain(path.stem, ["", *ids], names, None, interactions, [*map(str, users)], tuple(notes))


def _listed(path: Path, listed: pd.DataFrame) -> dict[str, int]:
    """Item numbers by id, in the order of the table of titles."""
    names = listed.iloc[:, 0]
    twice = names.duplicated()
    if twice.any():
        row = twice.idxmax()
        raise UserError(
            f"{path}, {_at(listed, row)}: item '{shown(names[row])}' is there already; remove one of them"
        )
    return {name: number for number, name in enumerate(names, 1)}


def _trimmed(path: Path, frame: pd.DataFrame, column: str) -> list[str]:
    """Takes blanks off the edges of a column's ids, in place, and says so."""
    plain = frame[column].str.strip()
    changed = plain != frame[column]
    if not changed.any():
        return []
    first = _at(frame, changed.idxmax())
    frame[column] = plain
    return [f"{path}: blanks at the edges of {changed.sum():,} cells of '{column}' left out (first {first})"]


def _at(frame: pd.DataFrame, row: Hashable) -> str:
    return f"{frame.index.name} {row}"


def _stamps(path: Path, column: pd.Series) -> np.ndarray:
    """Times that can be ordered: all numbers, or all ISO dates (others are ambiguous: 05/01/2020)."""
    numbers = pd.to_numeric(column, errors="coerce")
    known = np.isfinite(numbers.to_numpy(dtype=float))
    if known.all():
        return numbers.to_numpy()
    dates = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    if dates.notna().all():
        return dates.to_numpy()
    neither = ~known & dates.isna().to_numpy()
    row = (neither if neither.any() else dates.isna().to_numpy()).argmax()
    place = f"{path}, {_at(column.to_frame(), column.index[row])}"
    cell = f"'{shown(column.iloc[row])}' in column '{column.name}'"
    if neither.any():
        raise UserError(f"{place}: {cell} is neither a number nor a date like 2020-01-31; mend the line")
    raise UserError(f"{place}: {cell} is a number where other lines have dates; use one kind")


def _frame(path: Path, columns: tuple[str, ...], title: str = "", atomic: bool = False) -> pd.DataFrame:
    """Some columns of a table, as text, indexed by the line (Parquet: the row) that each came from.

    Args:
        path: the file.
        columns: their names.
        title: the one column that may have empty cells.
        atomic: whether it is in RecBole's format.
    """
    way_out = "give a RecBole atomic file" if atomic else "give a .csv, .tsv or .parquet table"
    if len(set(columns)) < len(columns):
        raise UserError(
            f"{path}: columns {', '.join(columns)} are asked for; name a different column for each purpose"
        )
    if path.suffix.lower() == ".parquet" and not atomic:
        frame = _parquet(path, columns, way_out)
    else:
        separator = "," if path.suffix.lower() == ".csv" and not atomic else "\t"
        lines, rows = _rows(path, read_text(path, way_out), separator)
        names = [name.partition(":")[0] for name in rows[0]] if atomic else rows[0]
        _check_columns(path, names, columns)
        cells = {column: [row[names.index(column)] for row in rows[1:]] for column in columns}
        frame = pd.DataFrame(cells, index=pd.Index(lines[1:], name="line"), dtype=str)
    if frame.empty:
        raise UserError(f"{path}: has no rows; {way_out}")
    for column in columns:
        gone = frame[column].str.strip() == ""
        if column != title and gone.any():
            raise UserError(
                f"{path}, {_at(frame, gone.idxmax())}: column '{column}' is empty; fill it or remove the line"
            )
    return frame


def _parquet(path: Path, columns: tuple[str, ...], way_out: str) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {way_out}") from None
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: not readable as Parquet ({reason}); {way_out}") from None
    _check_columns(path, [str(name) for name in table.columns], columns)
    cells = {name: table[name].astype(object).where(table[name].notna(), "").astype(str) for name in columns}
    return pd.DataFrame(cells).set_axis(pd.RangeIndex(1, len(table) + 1, name="row"))


def _check_columns(path: Path, names: list[str], columns: tuple[str, ...]) -> None:
    for column in columns:
        if names.count(column) != 1:
            problem = (
                f"column '{column}' is there more than once" if column in names else f"no column '{column}'"
            )
            raise UserError(
                f"{path}, line 1: {problem} (there are: {', '.join(names)[:200]}); "
                f"name it with --user, --item, --time or --title"
            )


def _rows(path: Path, text: str, separator: str) -> tuple[list[int], list[list[str]]]:
    """Cells of a text table, and the line on which each row begins; quotes mean something in .csv only."""
    text = text.replace("\r\n", "\n").rstrip("\n")
    if separator == "," and '"' in text:
        lines, rows, begin = list[int](), list[list[str]](), 1
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            for row in reader:
                lines.append(begin)
                rows.append(row)
                begin = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}, line {begin}: quotes that don't match ({error}); mend it") from None
    else:
        rows = [line.split(separator) for line in text.split("\n")]
        lines = list(range(1, len(rows) + 1))
    width = len(rows[0])
    for number, row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise UserError(
                f"{path}, line {number}: {len(row)} columns where the first line has {width}; mend the line"
            )
    return lines, rows
