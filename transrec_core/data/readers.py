"""Dataset folders -> RawDomain, and back. Every refusal names the file, the line and the way out.

FOLDER/items.tsv    item id TAB title (the title may be empty, and the column may be missing in all lines)
FOLDER/users.tsv    user TAB item ids in time order, separated by spaces
FOLDER/images/ID.jpg (or .jpeg, .png, .webp)
"""

from __future__ import annotations

import codecs
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_folder
from transrec_core.data.interactions import Interactions
from transrec_core.data.raw import RawDomain

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".WEBP")


def read_text(path: Path, way_out: str) -> str:
    """A whole UTF-8 file (with or without a byte-order mark).

    Args:
        path: the file.
        way_out: what the message advises if there is none.

    Raises:
        UserError: if the file is missing, empty, or not UTF-8.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: not found; {way_out}") from None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); {way_out}") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    if not text.strip():
        raise UserError(f"{path}: is empty; {way_out}")
    return text


def shown(text: object) -> str:
    """A piece of somebody's file, fit for one line of a message."""
    return " ".join(str(text).split())[:40]


def _lines(path: Path, way_out: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; empty ones are left out."""
    for number, line in enumerate(read_text(path, way_out).replace("\r\n", "\n").split("\n"), 1):
        if line.strip(" "):
            yield number, line


def read_folder(path: str | Path) -> RawDomain:
    """Reads a dataset folder.

    Args:
        path: the folder, see the top of this file.

    Raises:
        UserError: missing or empty file, short line, byte that is not UTF-8, unknown item in a history,
            duplicated item or user, a user id with a blank at its edge, an item id that is no file name
            although there are pictures.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give a dataset folder with items.tsv and users.tsv")
    pictures = path / "images"
    numbers, titles = _read_items(path / "items.tsv", file_names=pictures.is_dir())
    users, interactions = _read_users(path / "users.tsv", numbers)
    return RawDomain(
        path.resolve().name,
        ["", *numbers],
        ["", *titles] if any(titles) else None,
        _find_pictures(pictures, list(numbers)) if pictures.is_dir() else None,
        interactions,
        users,
    )


def _read_items(path: Path, file_names: bool) -> tuple[dict[str, int], list[str]]:
    """Item numbers by id, and titles. With ``file_names``, an id that leads out of the pictures' folder is
    refused.
    """
    index: dict[str, int] = {}
    titles: list[str] = []
    numbers: list[int] = []
    short = full = 0  # the last line without a TAB, and with one
    for number, line in _lines(path, "it needs a line 'item id TAB title' for each item"):
        item, tab, title = line.partition("\t")
        place = f"{path}, line {number}"
        if item.split() != [item]:
            raise UserError(
                f"{place}: '{shown(item)}' is no item id (empty, or with a space); write 'item id TAB title'"
            )
        if item in index:
            first = numbers[index[item] - 1]
            raise UserError(
                f"{place}: item '{shown(item)}' is there already (line {first}); remove one of them"
            )
        if file_names and ("/" in item or "\\" in item or item in (".", "..")):
            raise UserError(
                f"{place}: id '{shown(item)}' is not fit for a file name in images/; rename the item"
            )
        short, full = (short, number) if tab else (number, full)
        if short and full:
            raise UserError(
                f"{path}, line {short}: short line without a TAB, unlike others; write 'item id TAB title' "
                f"(the title may be empty)"
            )
        index[item] = len(index) + 1
        titles.append(title.strip())
        numbers.append(number)
    return index, titles


def _read_users(path: Path, index: dict[str, int]) -> tuple[list[str], Interactions]:
    flat, offsets = array("i"), array("q", [0])  # a string for each interaction would take ten times the room
    users: dict[str, int] = {}
    for number, line in _lines(path, "it needs a line 'user TAB item ids' for each user"):
        user, tab, history = line.partition("\t")
        place, items = f"{path}, line {number}", history.split()
        if not tab or not items or not user.strip():
            raise UserError(
                f"{place}: short line '{shown(line)}'; write 'user TAB item ids separated by spaces'"
            )
        if user != user.strip():
            raise UserError(f"{place}: user '{shown(user)}' has a blank at the edge of its id; remove it")
        if user in users:
            raise UserError(
                f"{place}: user '{shown(user)}' is there already (line {users[user]}); join the two histories"
            )
        users[user] = number
        try:
            flat.extend(map(index.__getitem__, items))
        except KeyError as error:
            unknown = shown(error.args[0])
            raise UserError(
                f"{place}: item '{unknown}' is not in items.tsv; add it there or remove it here"
            ) from None
        offsets.append(len(flat))
    histories = np.array(flat, dtype=np.int32), np.array(offsets, dtype=np.int64)
    return list(users), Interactions(*histories, len(index))


def _find_pictures(folder: Path, items: list[str]) -> list[Path | None]:
    files = {entry.name for entry in os.scandir(folder)}
    names = ((item + end for end in PICTURES if item + end in files) for item in items)
    return [None, *(folder / name if name else None for name in (next(each, None) for each in names))]


def write_folder(raw: RawDomain, path: str | Path) -> None:
    """Writes a dataset folder (without pictures), whole or not at all.

    Args:
        raw: what is written; users without ids are called u0, u1, ...
        path: a new folder, or an empty one.

    Raises:
        UserError: if the folder exists and is not empty, an item id has white space in it, a user id a TAB,
            a line end or a blank at its edge, or two users have one id.
    """
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; give a new folder")
    users = raw.user_ids if raw.user_ids is not None else [f"u{n}" for n in range(len(raw.interactions))]
    _check_ids(raw, users)
    titles = raw.titles or [""] * len(raw.item_ids)
    with atomic_folder(path) as new:
        items = (f"{item}\t{title}\n" for item, title in zip(raw.item_ids[1:], titles[1:], strict=True))
        (new / "items.tsv").write_text("".join(items), encoding="utf-8")
        names = np.array(raw.item_ids, dtype=object)[raw.interactions.items]
        bounds = zip(users, raw.interactions.offsets[:-1], raw.interactions.offsets[1:], strict=True)
        histories = (f"{user}\t{' '.join(names[start:end])}\n" for user, start, end in bounds)
        (new / "users.tsv").write_text("".join(histories), encoding="utf-8")


def _check_ids(raw: RawDomain, users: list[str]) -> None:
    refused = "and can't go into a dataset folder; rename the"
    for item in raw.item_ids[1:]:
        if item.split() != [item]:
            raise UserError(f"{raw.name}: item id '{shown(item)}' has white space in it {refused} item")
    for user in users:
        if user != user.strip() or not user or len(user.splitlines()) > 1 or "\t" in user:
            raise UserError(
                f"{raw.name}: user id '{shown(user)}' is empty, or has a TAB, a line end or a blank at its "
                f"edge {refused} user"
            )
    user, times = next(iter(Counter(users).most_common(1)), ("", 0))
    if times > 1:
        raise UserError(f"{raw.name}: {times} users have the id '{shown(user)}'; rename them")
