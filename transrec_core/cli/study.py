"""The part of the ``transrec`` command that is about many runs: tune, study, pack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from transrec_core.base.errors import UserError

app = typer.Typer()

StoreOption = Annotated[Path, typer.Option("--store", help="Folder of records.")]
RootOption = Annotated[
    Path, typer.Option("--data-root", envvar="TRANSREC_DATA", help="Where relative dataset folders start.")
]


@app.command("tune")
def tune_command(
    profile: Annotated[str, typer.Option(help="Profile whose cells are tuned.")] = "laptop",
    store: StoreOption = Path("runs/tuning"),
    again: Annotated[
        bool, typer.Option("--again", help="Tune everything again, not only what has no step size yet.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="QUESTION", help="Only the cells of this question; may be given again."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, one thread each; by default one for each core.")
    ] = None,
    data_root: RootOption = Path(),
) -> None:
    """Choose each method's step size on the tuning seed and the validation users, and write the profile's
    file of step sizes.
    """
    from transrec_core.study.grids import load_profile
    from transrec_core.study.store import Store
    from transrec_core.study.tuning import tune

    found = tune(load_profile(profile), Store(store), workers, again, data_root, only or ())
    typer.echo(yaml.safe_dump(found, sort_keys=False))


@app.command("study")
def study_command(
    question: Annotated[
        str,
        typer.Argument(help="A question of the profile, such as rq1, or a YAML file with seeds and cells."),
    ],
    profile: Annotated[str, typer.Option(help="How big: smoke, laptop, study or real.")] = "laptop",
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
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, one thread each; by default one for each core.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers run it, e.g. tcp://host:8786."),
    ] = None,
    store: StoreOption = Path("runs"),
    data_root: RootOption = Path(),
) -> None:
    """Run a study and record it; what is recorded already is not run again, what was interrupted goes on."""
    from transrec_core.study.executors import cores, execute
    from transrec_core.study.grids import load_study, question_specs
    from transrec_core.study.progress import Forecast, duration, state, told
    from transrec_core.study.progress import watch as watch_progress
    from transrec_core.study.store import Store

    untuned: dict[str, str] | None = {} if dry_run or watch else None
    plan = question_specs(*load_study(question, profile), untuned)
    specs = {run_id: spec for run_id, (_, _, spec) in plan.items()}
    records = Store(store)
    if watch:
        watch_progress(records, specs)
        return
    if dry_run:
        states = {run_id: state(records, run_id) for run_id in plan}
        forecast = Forecast(records)
        for run_id, (cell, variant, spec) in plan.items():
            seconds = None if states[run_id] == "recorded" else forecast.seconds(spec)
            typer.echo(
                f"{run_id}  {states[run_id]:<10}  {cell.name:<26} {variant.label():<34} seed {spec.seed}  "
                f"{'' if seconds is None else duration(seconds):>6}".rstrip()
            )
        for what in untuned or ():
            typer.echo(f"without step size yet: {what}")
        todo = [run_id for run_id, what in states.items() if what not in ("recorded", "other code")]
        others = sum(what == "other code" for what in states.values())
        left = forecast.total(specs[run_id] for run_id in todo)
        typer.echo(
            f"{len(plan)} runs, {len(todo)} to run{told(left if todo else None, workers or cores())} with {workers or cores()} workers"
            + (
                f"; {others} recorded by another version of the code, which --refresh runs again"
                if others
                else ""
            )
        )
        return
    failed = execute(specs.values(), records, data_root, workers, scheduler, refresh)
    typer.echo(
        f"{len(plan)} runs, {sum(records.has(run_id) for run_id in plan)} recorded in {store}, {len(failed)} failed"
    )
    for run_id, error in failed.items():
        typer.echo(
            f"failed: {run_id}  {plan[run_id][1].label()}, seed {specs[run_id].seed}: {error}", err=True
        )
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
        wanted = {
            run_id for question in asked.questions.values() for run_id in question_specs(asked, question, {})
        }
        records = [record for record in records if record.id in wanted]
    if not records:
        raise UserError(f"{store}: no records to pack; --store names another folder")
    size = write_shelf(records, folder)
    atomic_write(folder / "sources.json", json.dumps(source_facts(store), indent=1) + "\n")
    if profile is not None and asked.pairs:
        atomic_write(folder / "pairs.json", json.dumps(pair_effects(asked, data_root), indent=1) + "\n")
        atomic_write(folder / "encoders.json", json.dumps(encoder_builds(store), indent=1) + "\n")
    typer.echo(f"{folder}: {len(records)} records, {size:,} bytes")
