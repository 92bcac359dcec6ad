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
from transrec_core.data.readers import _shown, _text


def read_table(
    path: str | Path,
    user: str = "user_id",
    item: str = "item_id",
    time: str = "timestamp",
    titles: str | Path | None = None,
    item_title: str = "title",
) -> RawDomain:
    """Reads a long table, one interaction a row (.csv, .tsv or .parquet).

    Args:
        user, item, time: column names.
        titles: a table with the columns ``item`` and ``item_title``.

    Raises:
        UserError: missing file or column, a short line, an empty cell, a time that is no number or ISO date,
            an item without a title row.
    """
    frame = _frame(Path(path), (user, item, time))
    listed = (
        _frame(Path(titles), (item, item_title), empty_allowed=(item_title,)) if titles is not None else None
    )
    return _long(Path(path), frame, Path(titles or ""), listed)


def read_recbole(
    inter: str | Path,
    item: str | Path | None = None,
    title: str = "title",
    user_column: str = "user_id",
    item_column: str = "item_id",
    time_column: str = "timestamp",
) -> RawDomain:
    """Reads RecBole's atomic files: ``.inter`` and, for titles, ``.item``; both have TABs and a first line of
    "name:type".

    Raises:
        UserError: as :func:`read_table`.
    """
    frame = _frame(Path(inter), (user_column, item_column, time_column), atomic=True)
    listed = _frame(Path(item), (item_column, title), (title,), atomic=True) if item is not None else None
    return _long(Path(inter), frame, Path(item or ""), listed)


def _long(path: Path, frame: pd.DataFrame, titles: Path, listed: pd.DataFrame | None) -> RawDomain:
    """Histories from the columns (user, item, time) of ``frame`` and titles from those (item, title) of
    ``listed``.
    """
    user, item, time = frame.columns
    stamps = _stamps(path, frame[time])
    names = None
    if listed is not None:
        twice = listed[item].duplicated()
        if twice.any():
            row = twice.idxmax()
            raise UserError(
                f"{titles}, {_at(listed, row)}: item '{_shown(listed[item][row])}' is there already; remove one of them"
            )
        ids = {i: n for n, i in enumerate(listed[item], 1)}
        names = ["", *(" ".join(t.split()) for t in listed.iloc[:, 1])]
        unknown = ~frame[item].isin(ids)
        if unknown.any():
            row = unknown.idxmax()
            raise UserError(
                f"{path}, {_at(frame, row)}: item '{_shown(frame[item][row])}' is not in {titles}; add it there or remove it here"
            )
    else:
        ids = {i: n for n, i in enumerate(frame[item].drop_duplicates(), 1)}
    owner, users = pd.factorize(frame[user])
    order = np.lexsort(
        (np.arange(len(frame)), stamps, owner)
    )  # within a user by time; equal times in file order
    items = frame[item].map(ids).to_numpy(dtype=np.int32)[order]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))]).astype(np.int64)
    return RawDomain(path.stem, ["", *ids], names, None, Interactions(items, offsets, len(ids)))


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
    place = f"{path}, {_at(column.to_frame(), column.index[row])}: '{_shown(column.iloc[row])}' in column '{column.name}'"
    if neither.any():
        raise UserError(f"{place} is neither a number nor a date like 2020-01-31; mend the line")
    raise UserError(f"{place} is a number where other lines have dates; use one kind")


def _frame(
    path: Path, columns: tuple[str, ...], empty_allowed: tuple[str, ...] = (), atomic: bool = False
) -> pd.DataFrame:
    """These columns of a table, as text, indexed by the line (Parquet: the row) that each came from;
    ``atomic``: RecBole's format.
    """
    way_out = "give a RecBole atomic file" if atomic else "give a .csv, .tsv or .parquet table"
    if len(set(columns)) < len(columns):
        raise UserError(
            f"{path}: columns {', '.join(columns)} are asked for; name a different column for each purpose"
        )
    parquet = path.suffix.lower() == ".parquet" and not atomic
    if parquet:
        try:
            table = pd.read_parquet(path)
        except FileNotFoundError:
            raise UserError(f"{path}: not found; {way_out}") from None
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: not readable as Parquet ({str(error).partition(chr(10))[0]}); {way_out}"
            ) from None
        names = [str(name) for name in table.columns]
    else:
        lines, rows = _rows(
            path, _text(path, way_out), "," if path.suffix.lower() == ".csv" and not atomic else "\t"
        )
        names = [name.partition(":")[0] for name in rows[0]] if atomic else rows[0]
    for column in columns:
        if names.count(column) != 1:
            problem = (
                f"column '{column}' is there more than once" if column in names else f"no column '{column}'"
            )
            raise UserError(
                f"{path}, line 1: {problem} (there are: {', '.join(names)[:200]}); name it with --user, --item, --time or --title"
            )
    if parquet:
        frame = pd.DataFrame(
            {c: table[c].astype(object).where(table[c].notna(), "").astype(str) for c in columns}
        )
        frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    else:
        places = [names.index(c) for c in columns]
        frame = pd.DataFrame(
            {c: [row[p] for row in rows[1:]] for c, p in zip(columns, places, strict=True)}, dtype=str
        )
        frame.index = pd.Index(lines[1:], name="line")
    if frame.empty:
        raise UserError(f"{path}: has no rows; {way_out}")
    for column in columns:
        gone = frame[column].str.strip() == ""
        if column not in empty_allowed and gone.any():
            raise UserError(
                f"{path}, {_at(frame, gone.idxmax())}: column '{column}' is empty; fill it or remove the line"
            )
    return frame


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
            raise UserError(
                f"{path}, line {begin}: quotes that don't match ({error}); mend the line"
            ) from None
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
