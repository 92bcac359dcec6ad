"""``transrec data``: check a dataset folder, convert public formats into one.

Nothing heavy is imported before it is needed: pandas by ``convert``, Pillow where there are pictures.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transrec_core.base.console import command_group

if TYPE_CHECKING:
    from transrec_core.data.raw import Report

app = command_group()


class Format(StrEnum):
    """What ``transrec data convert`` reads."""

    table = "table"
    recbole = "recbole"


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with items.tsv, users.tsv and perhaps images/.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Read a dataset folder, decode its pictures, and say what is in it; status 2 if something is wrong."""
    from transrec_core.data.readers import read_folder

    raw = read_folder(folder)
    if files := [path for path in raw.image_paths or [] if path is not None]:
        _decode(files)
    report = raw.report()
    typer.echo(json.dumps(asdict(report)) if as_json else readable(report))


def _decode(files: list[Path]) -> None:
    """Reads each picture once, so that a bad one is told."""
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    from transrec_core.data.pictures import read_picture

    with ThreadPoolExecutor(2) as pool:
        pictures = pool.map(lambda path: read_picture(path, 8), files)
        for _ in tqdm(pictures, total=len(files), desc="pictures", unit="file", disable=None, leave=False):
            pass


def readable(report: Report) -> str:
    """A report as aligned lines."""

    def count(number: int | None, of: str) -> str:
        return f"no {of}" if number is None else f"{number:,}"

    share = 100 * report.last_items_nowhere_else / max(1, report.users)
    length = f"{report.length_min} to {report.length_max}"
    rows = [
        ("users", f"{report.users:,}"),
        ("items", f"{report.items:,}"),
        ("interactions", f"{report.interactions:,}"),
        ("interactions a user", f"{length}, median {report.length_median:g}, mean {report.length_mean:.1f}"),
        ("users with fewer than 5", f"{report.users_under_5:,}"),
        ("repeats within a user", f"{report.repeats:,}"),
        ("items nobody had", f"{report.items_without_interactions:,}"),
        (
            "last items found nowhere else",
            f"{report.last_items_nowhere_else:,} ({share:.0f} % of users; in nobody's training part)",
        ),
        ("items without title", count(report.items_without_title, "titles")),
        ("items sharing a title", count(report.duplicate_titles, "titles")),
        ("items without picture", count(report.items_without_picture, "pictures")),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join([report.name, *(f"  {name:<{width}}  {value}" for name, value in rows)])


@app.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(help="The table, or RecBole's .inter file.")],
    folder: Annotated[Path, typer.Argument(help="The dataset folder to write; must not exist or be empty.")],
    format: Annotated[Format, typer.Option(help="What the source is.")] = Format.table,
    user: Annotated[str, typer.Option(help="Column of the user.")] = "user_id",
    item: Annotated[str, typer.Option(help="Column of the item.")] = "item_id",
    time: Annotated[str, typer.Option(help="Column of the time.")] = "timestamp",
    titles: Annotated[
        Path | None, typer.Option(help="Table of items with titles, or RecBole's .item file.")
    ] = None,
    title: Annotated[str, typer.Option(help="Column of the title.")] = "title",
) -> None:
    """Convert a long table of interactions, or RecBole's atomic files, into a dataset folder.

    Ids of users and items are kept.
    """
    from transrec_core.data.readers import write_folder
    from transrec_core.data.tables import read_recbole, read_table

    if format is Format.recbole:
        raw = read_recbole(source, titles, title, user, item, time)
    else:
        raw = read_table(source, user, item, time, titles, title)
    write_folder(raw, folder)
    typer.echo(readable(raw.report()))
    for note in raw.notes:
        typer.echo(f"note: {note}")


if __name__ == "__main__":
    from transrec_core.base.console import run

    run(app)
