"""``transrec recommend``: items for each history in a file."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from transrec_core.base.console import command_group
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_path

if TYPE_CHECKING:
    from transrec_core.models.transrec import TransRec

#: How the configuration of an adapter is called, now and before 0.2.
CONFIG_FILES = ("transrec_adapter.json", "adapter_config.json")

app = command_group()


@app.command("recommend")
def recommend(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A folder of save_pretrained, or STORE/ID of what `transrec run` trained."
        ),
    ],
    histories: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="A line for each user: item ids separated by spaces, oldest first; or user TAB item ids.",
        ),
    ],
    adapter: Annotated[
        str | None,
        typer.Option(metavar="NAME_OR_FOLDER", help="Adapter to load: its folder, or its name within MODEL."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Items for each user.")] = 10,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write, whole or not at all.")
    ] = None,
    with_history: Annotated[
        bool, typer.Option("--with-history", help="Also recommend what the user had.")
    ] = False,
    skip_unknown: Annotated[
        bool,
        typer.Option("--skip-unknown", help="Read histories without items that the model does not know."),
    ] = False,
) -> None:
    """Recommend items for each history in a file, as lines of user, rank, item and score with TABs between.

    A user without a name is called by the number of the line.
    """
    if not histories.is_file():
        raise UserError(f"{histories}: no such file; give one with a line of item ids for each user")
    recommender = _loaded(model, adapter)
    users: deque[str] = deque()
    lines = _histories(histories, recommender, skip_unknown, users)
    with _written(out) as file:
        file.write("user\trank\titem\tscore\n")
        for best in recommender.recommend_each(lines, k, not with_history, skip_unknown):
            user = users.popleft()
            for rank, (item, score) in enumerate(best, 1):
                file.write(f"{user}\t{rank}\t{item}\t{score:.6g}\n")


def _loaded(folder: Path, adapter: str | None) -> TransRec:
    from transrec_core.models.files import BASE_FILE, CONFIG_FILE
    from transrec_core.models.transrec import TransRec

    kept = folder / "model"
    if not any((folder / file).is_file() for file in (BASE_FILE, CONFIG_FILE)) and kept.is_dir():
        folder = kept
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one of save_pretrained, or STORE/ID of a run")
    if (folder / "record.json").is_file():
        raise UserError(
            f"{folder}: of this run no model was kept; `transrec run --refresh` trains and keeps it"
        )
    model = TransRec.from_pretrained(folder)
    if adapter is not None:
        places = [Path(adapter), folder / adapter]
        place = next((place for place in places if place.is_dir()), None)
        if place is None:
            files = [path for name in CONFIG_FILES for path in folder.glob(f"*/{name}")]
            names = ", ".join(sorted(path.parent.name for path in files)) or "none"
            raise UserError(f"--adapter {adapter}: no such folder, nor one in {folder} (there are: {names})")
        model.load_adapter(place, "adapter")
    return model


def _histories(path: Path, model: TransRec, skip_unknown: bool, users: deque[str]) -> Iterator[list[Any]]:
    """Histories line by line; each one's user is put at the end of ``users``."""
    known, named = model.known, None
    if known is None:
        raise UserError("the model knows no items: save it after fit() or remember()")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n ")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{where}: byte 0x{line[error.start]:02x} is not UTF-8; save it as UTF-8"
                ) from None
            if not text:
                continue
            user, tab, items = text.rpartition("\t")
            if named not in (None, bool(tab)) or "\t" in user:
                raise UserError(f"{where}: write 'user TAB item ids' in all lines, or item ids alone in all")
            named = bool(tab)
            try:
                if not len(known.numbers(items.split(), skip_unknown)) and not skip_unknown:
                    raise UserError("no items; write item ids separated by spaces")
            except UserError as error:
                raise UserError(f"{where}: {error}") from None
            users.append(user.strip() if tab else str(number))
            yield items.split()
    if named is None:
        raise UserError(f"{path}: is empty; it needs a line of item ids for each user")


@contextmanager
def _written(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file
