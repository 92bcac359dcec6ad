"""Commands about many runs: tune, study, pack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from transrec_core.base.console import command_group
from transrec_core.base.errors import UserError
from transrec_core.cli.options import ProfileOption, QuestionArgument, RootOption, StoreOption, WorkersOption

app = command_group()


@app.command("tune")
def tune_command(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY.yaml]", help="A study of one's own; else a whole profile.")
    ] = None,
    profile: ProfileOption = "laptop",
    store: Annotated[
        Path | None, typer.Option(help="Folder of records: runs for a study, else runs/tuning.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Tune everything again, not only what has no step size yet.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="QUESTION", help="Only the cells of this question; may be given again."),
    ] = None,
    workers: WorkersOption = None,
    data_root: RootOption = Path(),
) -> None:
    """Choose each method's step size, on the tuning seed and the validation users.

    The choices go into the profile's file of step sizes; those of STUDY.yaml into STUDY.step_sizes.yaml
    beside it, which the study reads.
    """
    from transrec_core.study.grids import is_study_file, load_profile, load_study
    from transrec_core.study.store import Store
    from transrec_core.study.tuning import choices, tune

    if study is not None and not is_study_file(study):
        raise UserError(f"{study}: not a study's YAML file; for a profile's question give --only {study}")
    asked = load_profile(profile) if study is None else load_study(study, profile)[0]
    folder = store or Path("runs/tuning" if study is None else "runs")
    tune(asked, Store(folder), workers, again, data_root, only or ())
    for choice in choices(asked, only or ()):
        value, tried = asked.step_size(*choice), asked.grid_of(choice.cell).get(choice.method, ())
        edge = "  (at the end of its grid)" if value in (tried[:1] + tried[-1:]) else ""
        grid = ", ".join(f"{size:g}" for size in tried)
        typer.echo(f"{choice.name:<28} {choice.method:<10} {value:g} of {grid}{edge}")
    typer.echo(f"step sizes are in {asked.step_size_tables[0]}")


@app.command("study")
def study_command(
    question: QuestionArgument,
    profile: ProfileOption = "laptop",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the runs, what is recorded, and the expected time; run nothing."
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show the progress of a study that another terminal runs.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Run again what is damaged or was recorded by other code.")
    ] = False,
    workers: WorkersOption = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers run it, e.g. tcp://host:8786."),
    ] = None,
    store: StoreOption = Path("runs"),
    data_root: RootOption = Path(),
) -> None:
    """Run a study and record it; what is recorded already is not run again, what was interrupted goes on."""
    from transrec_core.study.checks import check_run
    from transrec_core.study.executors import cores, execute
    from transrec_core.study.grids import load_study, question_specs
    from transrec_core.study.progress import forecast_lines
    from transrec_core.study.progress import watch as watch_progress
    from transrec_core.study.store import Store

    untuned: dict[str, str] | None = {} if dry_run or watch else None
    plan = question_specs(*load_study(question, profile), untuned)
    specs = {run_id: spec for run_id, (_, _, spec) in plan.items()}
    for spec in specs.values():
        check_run(spec)
    records = Store(store)
    if watch:
        watch_progress(records, specs)
        return
    if dry_run:
        for line in forecast_lines(records, plan, untuned or {}, workers or cores()):
            typer.echo(line)
        return
    failed = execute(specs.values(), records, data_root, workers, scheduler, refresh)
    recorded = sum(records.has(run_id) for run_id in plan)
    typer.echo(f"{len(plan)} runs, {recorded} recorded in {store}, {len(failed)} failed")
    for run_id, error in failed.items():
        label = plan[run_id][1].label()
        typer.echo(f"failed: {run_id}  {label}, seed {specs[run_id].seed}: {error}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command("pack")
def pack_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to, e.g. results/study.")],
    profile: Annotated[
        str | None,
        typer.Option(help="Pack what this profile asks for only, and what its filters did to its data."),
    ] = None,
    store: StoreOption = Path("runs"),
    data_root: RootOption = Path(),
) -> None:
    """Pack the records of a store into a few text files for shipping; a folder of packed records can be
    read like a store.
    """
    from transrec_core.base.files import atomic_write
    from transrec_core.study.grids import load_profile, pair_effects, question_specs
    from transrec_core.study.shelf import encoder_builds, source_facts, write_shelf
    from transrec_core.study.store import Store

    records = Store(store).all()
    if profile is not None:
        asked = load_profile(profile)
        questions = asked.questions.values()
        wanted = {run_id for question in questions for run_id in question_specs(asked, question, {})}
        records = [record for record in records if record.id in wanted]
    if not records:
        raise UserError(f"{store}: no records to pack; --store names another folder")
    size = write_shelf(records, folder)
    atomic_write(folder / "sources.json", json.dumps(source_facts(store), indent=1) + "\n")
    if profile is not None and asked.pairs:
        atomic_write(folder / "pairs.json", json.dumps(pair_effects(asked, data_root), indent=1) + "\n")
        atomic_write(folder / "encoders.json", json.dumps(encoder_builds(store), indent=1) + "\n")
    typer.echo(f"{folder}: {len(records)} records, {size:,} bytes")
