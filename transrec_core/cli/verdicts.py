"""``transrec verdicts``: what a study found, as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transrec_core.base.console import command_group
from transrec_core.cli.options import ProfileOption, QuestionArgument, StoreOption

if TYPE_CHECKING:
    from transrec_core.study.profile import Cell, Profile, Question, Variant
    from transrec_core.study.record import Record
    from transrec_core.study.store import Store

app = command_group()


@app.command("verdicts")
def verdicts_command(
    question: QuestionArgument, profile: ProfileOption = "laptop", store: StoreOption = Path("runs")
) -> None:
    """Print what a study found: a table with verdicts for each cell, from the records that there are.

    Everything is compared with full fine-tuning, or with the cell's first method if that is not in it; what
    is varied with the method itself.
    """
    from transrec_core.study.grids import load_study
    from transrec_core.study.store import Store

    asked, what = load_study(question, profile)
    for number, cell in enumerate(what.cells):
        groups, missing = recorded_groups(asked, cell, what, Store(store))
        if number:
            typer.echo()
        typer.echo(cell.title[0].upper() + cell.title[1:])
        reference = "full" if "full" in cell.methods else cell.methods[0]
        methods = {v.method: records for v, records in groups.items() if not v.levels}
        if reference in methods:
            typer.echo(verdict_table(methods, reference, methods[reference]))
        for method in dict.fromkeys(v.method for v in groups if v.levels and v.method in methods):
            varied = {v.label(): r for v, r in groups.items() if v.levels and v.method == method}
            margin_of = methods.get(reference, methods[method])
            typer.echo(verdict_table({method: methods[method], **varied}, method, margin_of))
        if missing:
            names = ", ".join(variant.label() for variant in missing)
            typer.echo(f"not recorded in {store} yet, or not all seeds: {names}; `transrec study` runs them")


def recorded_groups(
    profile: Profile, cell: Cell, question: Question, store: Store
) -> tuple[dict[Variant, list[Record]], list[Variant]]:
    """A cell's records by variant, and the variants of which a run is missing or can't be used."""
    from transrec_core.study.grids import planned, question_specs
    from transrec_core.study.record import UnusableRecord

    alone = question.model_copy(update={"cells": (cell,)})
    groups: dict[Variant, list[Record]] = {}
    for run_id, (_, variant, _) in question_specs(profile, alone, {}).items():
        try:
            if store.has(run_id):
                groups.setdefault(variant, []).append(store.read(run_id))
        except UnusableRecord as error:
            typer.echo(f"error: {error}", err=True)
    plan = planned(profile, cell, question.seeds)
    missing = [variant for variant, seeds in plan.items() if len(groups.get(variant, [])) < len(seeds)]
    return {variant: groups[variant] for variant in plan if variant not in missing}, missing


def verdict_table(groups: Mapping[str, Sequence[Record]], reference: str, margin_of: Sequence[Record]) -> str:
    """Groups of runs against one of them, as the report sees them, in lines for a terminal."""
    from transrec_core.report.tables import compared, table

    frame = compared(groups, reference, margin_of=margin_of)
    return str(table(frame, against=reference).to_string(index=False))
