"""``transrec verdicts``: what a study found, as tables in the terminal."""

from __future__ import annotations

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

    Methods are compared with full fine-tuning; what is varied with full fine-tuning at the same level, or
    with the method itself where that was not run.
    """
    from transrec_core.report.tables import verdict_table
    from transrec_core.study.grids import load_study
    from transrec_core.study.store import Store

    asked, what = load_study(question, profile)
    for number, cell in enumerate(what.cells):
        groups, missing = recorded_groups(asked, cell, what, Store(store))
        typer.echo(("\n" if number else "") + verdict_table({cell: groups}))
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
