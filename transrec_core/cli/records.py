"""Commands about records: runs, show, repeat, compare."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transrec_core.base.console import command_group
from transrec_core.base.errors import UserError
from transrec_core.cli.options import RootOption, StoreOption

if TYPE_CHECKING:
    from transrec_core.study.record import Record

app = command_group()


@app.command("runs")
def runs(store: StoreOption = Path("runs")) -> None:
    """List all records."""
    from transrec_core.report.ledger import records_frame
    from transrec_core.study.store import Store

    records, unusable = Store(store).survey()
    failures = Store(store).failures()
    if not (records or unusable or failures):
        raise UserError(f"{store}: no records; `transrec run` makes one, --store names another folder")
    if records:
        typer.echo(records_frame(records).to_string(index=False))
    for run_id, failure in failures.items():
        typer.echo(f"failed: {run_id}  {failure['error']}")
    for run_id, error in unusable.items():
        typer.echo(f"{error.word}: {run_id}  {error.reason}")
    if unusable:
        raise typer.Exit(1)


@app.command("show")
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID")],
    store: StoreOption = Path("runs"),
    data_root: Annotated[
        Path | None, typer.Option(help="Where its dataset folders start, for the line that repeats it.")
    ] = None,
) -> None:
    """Show one record and the command that repeats it."""
    from transrec_core.study.store import Store

    print_record(Store(store).read(run_id), store, data_root)


def print_record(record: Record, store: Path, data_root: Path | None = None) -> None:
    """Prints a record and the lines that repeat it and recommend with it, ready to be pasted into a shell.

    Args:
        record: what is shown.
        store: where it is.
        data_root: where its dataset folders start; None leaves a word to be filled in.
    """
    from transrec_core.study.kept import recommend_line

    spec, facts = record.spec, record.facts
    typer.echo(f"{record.id}  {spec.method}, {spec.model.objective}, seed {spec.seed}")
    domains = f"{spec.source.data.folder} -> {spec.target.folder} ({spec.target.modality})"
    typer.echo(f"  {domains}, encoder {spec.encoder}")
    for name, value in record.metrics.items():
        typer.echo(f"  {name:<8} {100 * value:6.2f} %" if name != "MRR" else f"  {name:<8} {value:6.4f}")
    where = facts.get("device", "cpu")
    typer.echo(f"  test cases {facts['cases']:,}; {facts['seconds']:.0f} s in all on {where}")
    if "trainable_parameters" in facts:
        trained, total = facts["trainable_parameters"], facts["total_parameters"]
        memory = f"{facts['peak_memory_mb']:,.0f} MiB"
        typer.echo(f"  trainable parameters {trained:,} of {total:,}; peak memory {memory}")
    if facts.get("best_step") == 0:
        typer.echo("  note: no validation was better than the untrained start (best step 0)")
    if facts.get("items", 11) <= 10:
        typer.echo(f"  note: the catalogue has {facts['items']} items, so any ranking has HR@10 100 %")
    line = ["transrec", "repeat", record.id, "--store", str(store)]
    if not (spec.target.is_world and spec.source.data.is_world):
        line += ["--data-root", "DATA" if data_root is None else str(data_root)]
    typer.echo(f"  repeat: {shlex.join(line)}")
    recommend = recommend_line(record.id, store)
    if recommend is not None:
        typer.echo(f"  recommend: {recommend}")


@app.command("repeat")
def repeat(
    run_id: Annotated[str, typer.Argument(metavar="ID")],
    store: StoreOption = Path("runs"),
    into: Annotated[Path, typer.Option(help="Folder for the new record.")] = Path("runs/again"),
    data_root: RootOption = Path(),
    note: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file to which the outcome is added.")
    ] = None,
) -> None:
    """Run a record's specification again, with as many threads, and say whether it agrees."""
    import torch

    from transrec_core.report.repeats import add_repeat, read_repeats, repeated
    from transrec_core.study.run import run
    from transrec_core.study.store import Store

    record = Store(store).read(run_id)
    if note is not None:
        read_repeats(note)  # a wrong name is told now, not after the run
    torch.set_num_threads(record.facts["threads"])
    outcome: dict[str, Any] = repeated(record, run(record.spec, Store(into), data_root, refresh=True))
    recorded = "{recorded:.2f} % [{low:.2f}, {high:.2f}] (95 % over users)".format(**outcome)
    same = "every test case has the same rank" if outcome["equal ranks"] else "ranks differ"
    verdict = "agrees" if outcome["agrees"] else "DOES NOT AGREE"
    typer.echo(f"{record.id}: HR@10 {outcome['again']:.2f} %, recorded {recorded}; {same}; {verdict}")
    if note is not None:
        add_repeat(note, outcome)
    if not outcome["agrees"]:
        raise typer.Exit(1)


@app.command("compare")
def compare(
    a: Annotated[str, typer.Argument(metavar="A")],
    b: Annotated[str, typer.Argument(metavar="B")],
    k: Annotated[int, typer.Option(min=1, help="Cut-off of HR@K.")] = 10,
    store: StoreOption = Path("runs"),
) -> None:
    """Difference of two records in HR@K, with a 95 % bootstrap interval over their common test users."""
    from transrec_core.evaluation.statistics import hits, paired_difference
    from transrec_core.study.record import same_cases
    from transrec_core.study.store import Store

    records = [Store(store).read(run_id) for run_id in (a, b)]
    reservation = same_cases(*records)
    shares = [hits(record.ranks, k) for record in records]
    difference = paired_difference(shares[0], shares[1])
    names = [record.spec.method for record in records]
    if records[0].spec.encoder != records[1].spec.encoder:
        names = [f"{name} ({record.spec.encoder})" for name, record in zip(names, records, strict=True)]
    reached = ", ".join(f"{n} {100 * share.mean():.2f} %" for n, share in zip(names, shares, strict=True))
    bounds = f"[{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
    typer.echo(
        f"HR@{k}: {reached}; difference {100 * difference.mean:+.2f} points, 95 % interval {bounds} "
        f"({records[0].facts['cases']:,} users; one seed each, so the spread between seeds is not in it)"
    )
    if reservation is not None:
        typer.echo(f"note: {reservation}")
