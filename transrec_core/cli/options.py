"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[Path, typer.Option("--store", help="Folder of records.")]
RootOption = Annotated[
    Path, typer.Option("--data-root", envvar="TRANSREC_DATA", help="Where relative dataset folders start.")
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes, one thread each; by default one for each core.")
]
QuestionArgument = Annotated[
    str, typer.Argument(help="A question of the profile, such as rq1, or a YAML file with seeds and cells.")
]
ProfileOption = Annotated[str, typer.Option(help="How big: smoke, laptop, study or real.")]
