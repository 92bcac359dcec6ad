"""Dataset folders and public formats -> RawDomain. Every refusal names the file, the line and the way out.

FOLDER/items.tsv    item id TAB title (the title may be empty, and the column may be missing in all lines)
FOLDER/users.tsv    user TAB item ids in time order, separated by spaces
FOLDER/images/ID.jpg (or .jpeg, .png, .webp)
"""

from __future__ import annotations

import codecs
import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_folder
from transrec_core.data.interactions import Interactions
from transrec_core.data.raw import RawDomain

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG", ".WEBP")


def _text(path: Path, way_out: str) -> str:
    """A whole UTF-8 file (with or without a byte-order mark)."""
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


def _lines(path: Path, way_out: str) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends; empty ones are left out."""
    for number, line in enumerate(_text(path, way_out).replace("\r\n", "\n").split("\n"), 1):
        if line.strip(" "):
            yield number, line


def _shown(text: object) -> str:
    """A piece of somebody's file, fit for one line of a message."""
    return " ".join(str(text).split())[:40]


def read_folder(path: str | Path) -> RawDomain:
    """Reads a dataset folder.

    Raises:
        UserError: missing or empty file, short line, byte that is not UTF-8, unknown item in a history,
            duplicated item or user, an item id that is no file name although there are pictures.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give a dataset folder with items.tsv and users.tsv")
    pictures = (path / "images").is_dir()
    index, titles = _read_items(path / "items.tsv", file_names=pictures)
    interactions = _read_users(path / "users.tsv", index)
    image_paths = None
    if pictures:
        image_paths = _find_pictures(path / "images", list(index))
    has_titles = any(titles)
    return RawDomain(
        path.resolve().name, ["", *index], ["", *titles] if has_titles else None, image_paths, interactions
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
        if item.split() != [item]:
            raise UserError(
                f"{path}, line {number}: '{_shown(item)}' is no item id (empty, or with a space); write 'item id TAB title'"
            )
        if item in index:
            first = numbers[index[item] - 1]
            raise UserError(
                f"{path}, line {number}: item '{_shown(item)}' is there already (line {first}); remove one of them"
            )
        if file_names and ("/" in item or "\\" in item or item in (".", "..")):
            raise UserError(
                f"{path}, line {number}: id '{_shown(item)}' is not fit for a file name in images/; rename the item"
            )
        short, full = (short, number) if tab else (number, full)
        if short and full:
            raise UserError(
                f"{path}, line {short}: short line without a TAB, unlike others; write 'item id TAB title' (the title may be empty)"
            )
        index[item] = len(index) + 1
        titles.append(title.strip())
        numbers.append(number)
    return index, titles


def _read_users(path: Path, index: dict[str, int]) -> Interactions:
    flat, offsets = array("i"), array("q", [0])  # a string for each interaction would take ten times the room
    users: dict[str, int] = {}
    for number, line in _lines(path, "it needs a line 'user TAB item ids' for each user"):
        user, tab, history = line.partition("\t")
        items = history.split()
        if not tab or not items or not user.strip():
            raise UserError(
                f"{path}, line {number}: short line '{_shown(line)}'; write 'user TAB item ids separated by spaces'"
            )
        if user in users:
            raise UserError(
                f"{path}, line {number}: user '{_shown(user)}' is there already (line {users[user]}); join the two histories"
            )
        users[user] = number
        try:
            flat.extend(map(index.__getitem__, items))
        except KeyError as error:
            unknown = _shown(error.args[0])
            raise UserError(
                f"{path}, line {number}: item '{unknown}' is not in items.tsv; add it there or remove it here"
            ) from None
        offsets.append(len(flat))
    return Interactions(np.array(flat, dtype=np.int32), np.array(offsets, dtype=np.int64), len(index))


def _find_pictures(folder: Path, items: list[str]) -> list[Path | None]:
    there = {entry.name for entry in os.scandir(folder)}
    found: list[Path | None] = [None]
    for item in items:
        found.append(next((folder / (item + end) for end in PICTURES if item + end in there), None))
    return found


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
        raise UserError(
            f"{raw.name}: item id '{_shown(odd)}' has white space in it and can't go into a dataset folder; rename the item"
        )
    titles = raw.titles or [""] * len(raw.item_ids)
    with atomic_folder(path) as new:
        lines = (f"{i}\t{t}\n" for i, t in zip(raw.item_ids[1:], titles[1:], strict=True))
        (new / "items.tsv").write_text("".join(lines), encoding="utf-8")
        names = np.array(raw.item_ids, dtype=object)[raw.interactions.items]
        bounds = zip(raw.interactions.offsets[:-1], raw.interactions.offsets[1:], strict=True)
        users = (f"u{n}\t{' '.join(names[a:b])}\n" for n, (a, b) in enumerate(bounds))
        (new / "users.tsv").write_text("".join(users), encoding="utf-8")
