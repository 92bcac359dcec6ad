"""``transrec data``: check a dataset folder, convert public formats into one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from transrec_core.data.pictures import read_picture
from transrec_core.data.raw import Report
from transrec_core.data.readers import read_folder, write_folder
from transrec_core.data.tables import read_recbole, read_table

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Format(StrEnum):
    table = "table"
    recbole = "recbole"


@app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Folder with items.tsv, users.tsv and perhaps images/.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Read a dataset folder, decode its pictures, and say what is in it; status 2 if something is wrong."""
    raw = read_folder(folder)
    pictures = [p for p in raw.image_paths or [] if p is not None]
    with ThreadPoolExecutor(2) as pool:
        jobs = pool.map(lambda p: read_picture(p, 8), pictures)
        for _ in tqdm(
            jobs, total=len(pictures), desc="pictures", unit="file", disable=not pictures or None, leave=False
        ):
            pass
    report = raw.report()
    typer.echo(report.model_dump_json() if json else readable(report))


def readable(report: Report) -> str:
    """A report as aligned lines."""
    share = 100 * report.last_items_nowhere_else / max(1, report.users)
    rows = [
        ("users", f"{report.users:,}"),
        ("items", f"{report.items:,}"),
        ("interactions", f"{report.interactions:,}"),
        (
            "interactions a user",
            f"{report.length_min} to {report.length_max}, median {report.length_median:g}, mean {report.length_mean:.1f}",
        ),
        ("users with fewer than 5", f"{report.users_under_5:,}"),
        ("repeats within a user", f"{report.repeats:,}"),
        ("items nobody had", f"{report.items_without_interactions:,}"),
        (
            "last items found nowhere else",
            f"{report.last_items_nowhere_else:,} ({share:.0f} % of users; in nobody's training part)",
        ),
        (
            "items without title",
            "no titles" if report.items_without_title is None else f"{report.items_without_title:,}",
        ),
        (
            "items sharing a title",
            "no titles" if report.duplicate_titles is None else f"{report.duplicate_titles:,}",
        ),
        (
            "items without picture",
            "no pictures" if report.items_without_picture is None else f"{report.items_without_picture:,}",
        ),
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
    """Convert a long table of interactions, or RecBole's atomic files, into a dataset folder."""
    if format is Format.recbole:
        raw = read_recbole(source, titles, title, user, item, time)
    else:
        raw = read_table(source, user, item, time, titles, title)
    write_folder(raw, folder)
    typer.echo(readable(raw.report()))
