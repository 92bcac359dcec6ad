"""Dataset folders and public formats -> RawDomain. Every refusal names the file, the line and the way out.

    FOLDER/items.tsv    item id TAB title (the title may be empty, and the column may be missing in all lines)
    FOLDER/users.tsv    user TAB item ids in time order, separated by spaces
    FOLDER/images/ID.jpg (or .jpeg, .png, .webp)
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from transrec_core.data.interactions import Interactions
from transrec_core.data.raw import RawDomain
from transrec_core.errors import UserError

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def _text(path: Path, way_out: str) -> str:
    """A whole UTF-8 file (with or without a byte-order mark)."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {way_out}") from None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); {way_out}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8") from None
    if not text.strip():
        raise UserError(f"{path}: is empty; {way_out}")
    return text


def _lines(path: Path, way_out: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; empty ones are left out."""
    for number, line in enumerate(_text(path, way_out).replace("\r\n", "\n").split("\n"), 1):
        if line.strip():
            yield number, line


def read_folder(path: str | Path) -> RawDomain:
    """Reads a dataset folder.

    Raises:
        UserError: missing or empty file, short line, byte that is not UTF-8, unknown item in a history, duplicated item or user, an
            item id that is no file name although there are pictures.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give a dataset folder with items.tsv and users.tsv")
    index, titles = _read_items(path / "items.tsv")
    interactions = _read_users(path / "users.tsv", index)
    image_paths = None
    if (path / "images").is_dir():
        image_paths = _find_pictures(path / "images", list(index))
    has_titles = any(titles)
    return RawDomain(path.resolve().name, ["", *index], ["", *titles] if has_titles else None, image_paths, interactions)


def _read_items(path: Path) -> tuple[dict[str, int], list[str]]:
    index: dict[str, int] = {}
    titles = []
    for number, line in _lines(path, "it needs a line 'item id TAB title' for each item"):
        item, _, title = line.partition("\t")
        if not item or " " in item:
            raise UserError(f"{path}, line {number}: '{item[:40]}' is no item id (empty, or with a space); write 'item id TAB title'")
        if item in index:
            raise UserError(f"{path}, line {number}: item '{item}' is there already (line {index[item]}); remove one of them")
        index[item] = len(index) + 1
        titles.append(title.strip())
    return index, titles


def _read_users(path: Path, index: dict[str, int]) -> Interactions:
    tokens: list[list[str]] = []
    numbers: list[int] = []
    users: dict[str, int] = {}
    for number, line in _lines(path, "it needs a line 'user TAB item ids' for each user"):
        user, tab, history = line.partition("\t")
        items = history.split()
        if not tab or not items:
            raise UserError(f"{path}, line {number}: short line '{line[:40]}'; write 'user TAB item ids separated by spaces'")
        if user in users:
            raise UserError(f"{path}, line {number}: user '{user}' is there already (line {users[user]}); join the two histories")
        users[user] = number
        numbers.append(number)
        tokens.append(items)
    lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
    flat = np.fromiter((index.get(t, 0) for t in chain.from_iterable(tokens)), dtype=np.int32, count=int(lengths.sum()))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if not flat.all():
        place = int(np.argmin(flat != 0))
        row = int(np.searchsorted(offsets, place, side="right")) - 1
        unknown = tokens[row][place - int(offsets[row])]
        raise UserError(f"{path}, line {numbers[row]}: item '{unknown}' is not in items.tsv; add it there or remove it here")
    return Interactions(flat, offsets, len(index))


def _find_pictures(folder: Path, items: list[str]) -> list[Path | None]:
    there = {entry.name for entry in os.scandir(folder)}
    found: list[Path | None] = [None]
    for line, item in enumerate(items, 1):
        if "/" in item or "\\" in item or item in (".", ".."):
            raise UserError(f"{folder.parent / 'items.tsv'}, item {line}: id '{item}' is not fit for a file name; rename the item")
        found.append(next((folder / (item + end) for end in PICTURES if item + end in there), None))
    return found


def read_table(
    path: str | Path, user: str = "user_id", item: str = "item_id", time: str = "timestamp",
    titles: str | Path | None = None, item_title: str = "title",
) -> RawDomain:  # fmt: skip
    """Reads a long table, one interaction a row (.csv, .tsv or .parquet).

    Args:
        user, item, time: column names. titles: a table with the columns ``item`` and ``item_title``.

    Raises:
        UserError: missing file or column, an empty cell, a time that is no number or date.
    """
    path = Path(path)
    frame = _frame(path, (user, item, time))
    stamps = pd.to_numeric(frame[time], errors="coerce")
    if stamps.isna().any():
        stamps = pd.to_datetime(frame[time], errors="coerce", utc=True)
    if stamps.isna().any():
        row = int(stamps.isna().to_numpy().argmax())
        raise UserError(f"{path}, line {row + 2}: '{frame[time].iloc[row]}' in column '{time}' is neither a number nor a date")
    ids: dict[str, int] = {}
    names = None
    if titles is not None:
        listed = _frame(Path(titles), (item, item_title), empty_allowed=(item_title,))
        if listed[item].duplicated().any():
            row = int(listed[item].duplicated().to_numpy().argmax())
            raise UserError(f"{titles}, line {row + 2}: item '{listed[item].iloc[row]}' is there already; remove one of them")
        ids = {i: n for n, i in enumerate(listed[item], 1)}
        names = ["", *(" ".join(t.split()) for t in listed[item_title].fillna(""))]
        unknown = ~frame[item].isin(ids)
        if unknown.any():
            row = int(unknown.to_numpy().argmax())
            raise UserError(f"{path}, line {row + 2}: item '{frame[item].iloc[row]}' is not in {titles}; add it there or remove it here")
    else:
        ids = {i: n for n, i in enumerate(frame[item].drop_duplicates(), 1)}
    owner, users = pd.factorize(frame[user])
    order = np.lexsort((np.arange(len(frame)), stamps.to_numpy(), owner))  # within a user by time; equal times in file order
    items = frame[item].map(ids).to_numpy(dtype=np.int32)[order]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(users)))]).astype(np.int64)
    return RawDomain(path.stem, ["", *ids], names, None, Interactions(items, offsets, len(ids)))


def _frame(path: Path, columns: tuple[str, ...], empty_allowed: tuple[str, ...] = ()) -> pd.DataFrame:
    """These columns of a table, as text."""
    way_out = "give a .csv, .tsv or .parquet table"
    if path.suffix == ".parquet":
        try:
            frame = pd.read_parquet(path)
        except FileNotFoundError:
            raise UserError(f"{path}: not found; {way_out}") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]}); {way_out}") from None
    else:
        text = _text(path, way_out)
        separator = "," if path.suffix == ".csv" else "\t"
        header, *rows = text.replace("\r\n", "\n").rstrip("\n").split("\n")
        names = header.split(separator)
        if separator == "," and '"' in text:
            frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        else:
            cells = [row.split(separator) for row in rows]
            for number, row in enumerate(cells, 2):
                if len(row) != len(names):
                    raise UserError(f"{path}, line {number}: {len(row)} columns where the first line has {len(names)}; mend the line")
            frame = pd.DataFrame(cells, columns=names)
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise UserError(f"{path}, line 1: no column '{missing[0]}' (there are: {there}); name it with --user, --item, --time or --title")
    if frame.empty:
        raise UserError(f"{path}: has no rows; {way_out}")
    frame = frame[list(columns)].astype(str)
    for column in columns:
        gone = (frame[column].str.strip() == "") | frame[column].isin(["nan", "None"])
        if column not in empty_allowed and gone.any():
            raise UserError(f"{path}, line {int(gone.to_numpy().argmax()) + 2}: column '{column}' is empty; fill it or remove the line")
    return frame


def read_recbole(inter: str | Path, item: str | Path | None = None, title: str = "title") -> RawDomain:
    """Reads RecBole's atomic files: ``.inter`` (user_id, item_id, timestamp) and, for titles, ``.item``; columns are "name:type".

    Raises:
        UserError: as :func:`read_table`.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = [_without_types(Path(p), Path(folder)) for p in (inter, item) if p is not None]
        try:
            raw = read_table(plain[0], titles=plain[1] if item is not None else None, item_title=title)
        except UserError as error:
            message = str(error)
            for copy, original in zip(plain, (inter, item), strict=False):
                message = message.replace(str(copy), str(original))
            raise UserError(message) from None
    raw.name = Path(inter).stem
    return raw


def _without_types(path: Path, folder: Path) -> Path:
    header, _, rest = _text(path, "give a RecBole atomic file").partition("\n")
    plain = "\t".join(column.partition(":")[0] for column in header.rstrip("\r").split("\t"))
    (folder / f"{path.name}.tsv").write_text(f"{plain}\n{rest}", encoding="utf-8")
    return folder / f"{path.name}.tsv"


def write_folder(raw: RawDomain, path: str | Path) -> None:
    """Writes a dataset folder (without pictures), whole or not at all.

    Raises:
        UserError: if the folder exists and is not empty, or an id has a space or tab in it.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; give a new folder")
    odd = next((i for i in raw.item_ids[1:] if len(i.split()) != 1), None)
    if odd is not None:
        raise UserError(f"item id '{odd}' has white space in it and can't go into a dataset folder; rename the item")
    titles = raw.titles or [""] * len(raw.item_ids)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        lines = (f"{i}\t{t}\n" for i, t in zip(raw.item_ids[1:], titles[1:], strict=True))
        (new / "items.tsv").write_text("".join(lines), encoding="utf-8")
        names = np.array(raw.item_ids, dtype=object)[raw.interactions.items]
        bounds = zip(raw.interactions.offsets[:-1], raw.interactions.offsets[1:], strict=True)
        users = (f"u{n}\t{' '.join(names[a:b])}\n" for n, (a, b) in enumerate(bounds))
        (new / "users.tsv").write_text("".join(users), encoding="utf-8")
        os.replace(new, path)
