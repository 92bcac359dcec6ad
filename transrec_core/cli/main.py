"""The ``transrec`` command. What needs torch is imported by the command that needs it: checking data
should not wait for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from transrec_core.base.console import run as run_app
from transrec_core.base.errors import UserError
from transrec_core.cli.data import app as data_app
from transrec_core.cli.study import RootOption, StoreOption
from transrec_core.cli.study import app as study_app

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(data_app, name="data", help="Check and convert dataset folders.")
app.registered_commands += study_app.registered_commands


@app.command("run")
def run_command(
    spec_file: Annotated[
        Path | None, typer.Argument(metavar="[SPEC.yaml]", help="A run's specification.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field, e.g. training.steps=100."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Source dataset folder (the short way, instead of SPEC.yaml).")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Target dataset folder.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="minilm, mae-vit, mlm-bert, fresh-vit, world, a folder or a hub name.")
    ] = None,
    modality: Annotated[str | None, typer.Option(help="text or image.")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="full, head, frozen, scratch, a control, or an adapter method.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the adaptation.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Run again although it is recorded.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the specification and its id, run nothing.")
    ] = False,
    store: StoreOption = Path("runs"),
    data_root: RootOption = Path(),
) -> None:
    """Run one specification and record it; a killed run resumes, a recorded one is shown."""
    from transrec_core.adapters.registry import METHODS
    from transrec_core.study.run import run
    from transrec_core.study.specs import read_spec, validated, with_changes
    from transrec_core.study.store import Store

    fields: dict[str, Any] = {}
    if spec_file is not None:
        fields = read_spec(spec_file).model_dump(mode="json")
    short = {"source.data.folder": source, "target.folder": target, "encoder": encoder, "seed": seed}
    short |= {"target.modality": modality, "source.data.modality": modality}
    if strategy in METHODS:
        short |= {"strategy": "adapter", "adapter.method": strategy}
    elif strategy is not None:
        short |= {"strategy": strategy, "adapter": None}
    given = [f"{key}={json.dumps(value)}" for key, value in short.items() if value is not None]
    if strategy is not None and strategy not in METHODS:
        given.append("adapter=null")
    spec = validated(with_changes(fields, given + (change or [])), str(spec_file or "run"))
    if dry_run:
        typer.echo(f"# id {spec.id()}, source model {spec.source_id()}")
        typer.echo(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False).rstrip())
        return
    record = run(spec, Store(store), data_root, refresh)
    show(record.id, store)


@app.command("runs")
def runs(store: StoreOption = Path("runs")) -> None:
    """List all records."""
    from transrec_core.report.ledger import records_frame
    from transrec_core.study.store import Store

    found = Store(store)
    records, damaged = found.scan()
    failures = found.failures()
    if not (records or damaged or failures):
        raise UserError(f"{store}: no records; `transrec run` makes one, --store names another folder")
    if records:
        typer.echo(records_frame(records).to_string(index=False))
    for run_id, failure in failures.items():
        typer.echo(f"failed: {run_id}  {failure['error']}")
    for run_id, reason in damaged.items():
        typer.echo(f"damaged: {run_id}  {reason}")
    if damaged:
        raise typer.Exit(1)


@app.command("show")
def show(run_id: Annotated[str, typer.Argument(metavar="ID")], store: StoreOption = Path("runs")) -> None:
    """Show one record and the command that repeats it."""
    from transrec_core.study.store import Store

    record = Store(store).read(run_id)
    facts = record.facts
    typer.echo(f"{record.id}  {record.spec.method}, {record.spec.model.objective}, seed {record.spec.seed}")
    typer.echo(
        f"  {record.spec.source.data.folder} -> {record.spec.target.folder} ({record.spec.target.modality}), encoder {record.spec.encoder}"
    )
    for name, value in record.metrics.items():
        typer.echo(f"  {name:<8} {100 * value:6.2f} %" if name != "MRR" else f"  {name:<8} {value:6.4f}")
    typer.echo(
        f"  test cases {facts['cases']:,}; {facts['seconds']:.0f} s in all on {facts.get('device', 'cpu')}"
    )
    if "trainable_parameters" in facts:
        trained, total = facts["trainable_parameters"], facts["total_parameters"]
        typer.echo(
            f"  trainable parameters {trained:,} of {total:,}; peak memory {facts['peak_memory_mb']:,.0f} MiB"
        )
    if facts.get("best_step") == 0:
        typer.echo("  note: no validation was better than the untrained start (best step 0)")
    typer.echo(
        f"  repeat: transrec repeat {record.id} --store {store}"
        + ("" if record.spec.target.is_world else " --data-root DATA")
    )


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
    found = repeated(record, run(record.spec, Store(into), data_root, refresh=True))
    same = "every test case has the same rank" if found["equal ranks"] else "ranks differ"
    typer.echo(
        f"{record.id}: HR@10 {found['again']:.2f} %, recorded {found['recorded']:.2f} % [{found['low']:.2f}, {found['high']:.2f}] (95 % over "
        f"users); {same}; {'agrees' if found['agrees'] else 'DOES NOT AGREE'}"
    )
    if note is not None:
        add_repeat(note, found)
    if not found["agrees"]:
        raise typer.Exit(1)


@app.command("compare")
def compare(
    a: Annotated[str, typer.Argument(metavar="A")],
    b: Annotated[str, typer.Argument(metavar="B")],
    k: Annotated[int, typer.Option(help="Cut-off of HR@K.")] = 10,
    store: StoreOption = Path("runs"),
) -> None:
    """Difference of two records in HR@K, with a 95 % bootstrap interval over their common test users."""
    from transrec_core.evaluation.statistics import hits, paired_difference
    from transrec_core.study.store import Store

    first, second = Store(store).read(a), Store(store).read(b)
    if first.facts["data_fingerprint"] != second.facts["data_fingerprint"]:
        raise UserError(
            f"{first.id} and {second.id} were tested on different data: a paired comparison means nothing"
        )
    difference = paired_difference(hits(first.ranks, k), hits(second.ranks, k))
    typer.echo(
        f"HR@{k}: {first.spec.method} {100 * hits(first.ranks, k).mean():.2f} %, {second.spec.method} {100 * hits(second.ranks, k).mean():.2f} %; "
        f"difference {100 * difference.mean:+.2f} points, 95 % interval [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}] "
        f"({first.facts['cases']:,} users; one seed each, so the spread between seeds is not in it)"
    )


@app.command("params")
def params(
    encoder: Annotated[
        str, typer.Option(help="A usual backbone's name (no download), or a folder with a config.json.")
    ] = "bert-base-uncased",
    method: Annotated[str, typer.Option(help="Adapter method.")] = "houlsby",
    item_size: Annotated[
        int | None, typer.Option(help="Bottleneck, rank or prompt length in the item encoder.")
    ] = None,
    user_size: Annotated[int | None, typer.Option(help="The same in the user encoder.")] = None,
    position: Annotated[str | None, typer.Option(help="attention, ffn or both.")] = None,
    encoders: Annotated[str | None, typer.Option(help="item, user or both.")] = None,
    dim: Annotated[int, typer.Option(help="Size d of item and user vectors.")] = 64,
    every: Annotated[bool, typer.Option("--all", help="A table of all methods.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Parameters that a method adds to a model, counted without weights."""
    from pydantic import ValidationError

    from transrec_core.adapters.config import AdapterConfig
    from transrec_core.models.params import count, table
    from transrec_core.models.spec import ModelSpec

    given = {"item_size": item_size, "user_size": user_size, "position": position, "encoders": encoders}
    fields = {key: value for key, value in given.items() if value is not None}
    try:
        spec = ModelSpec(dim=dim)
        rows = (
            table(encoder, spec, **fields)
            if every
            else [count(encoder, AdapterConfig.model_validate({"method": method, **fields}), spec)]
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ").replace(
                "Value error, ", ""
            )
        ) from None
    if as_json:
        typer.echo(json.dumps(rows if every else rows[0], indent=2))
        return
    base = rows[0]["base"]
    typer.echo(f"{encoder}, d = {dim}: {base:,} parameters without adapters")
    typer.echo(f"{'method':<12} {'added':>12} {'with head':>12} {'of all':>8} {'on disk':>10}")
    for row in rows:
        typer.echo(
            f"{row['method']:<12} {row['added']:>12,} {row['trained']:>12,} {100 * row['share']:>6.2f} % {row['bytes'] / 2**20:>6.2f} MiB"
        )
    typer.echo(
        "added: parameters of the adapter; with head: its copy of the head as well, which is all that trains"
    )
    if encoder == "bert-base-uncased" and dim == 64:
        typer.echo(
            "the released Adapter4Rec code counts BERT's unused pooler too: 109,632,320 without adapters"
        )


@app.command("import-adapter4rec")
def import_adapter4rec(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="epoch-N.pt of the released code.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; must not exist.")],
    objective: Annotated[str, typer.Option(help="sasrec or cpc.")] = "sasrec",
    item_heads: Annotated[
        int | None,
        typer.Option(help="Attention heads of the backbone; by default one for each 64 of its width."),
    ] = None,
    user_heads: Annotated[int, typer.Option(help="Attention heads of the user encoder.")] = 2,
    activation: Annotated[str, typer.Option(help="Of the bottlenecks: relu or gelu.")] = "relu",
) -> None:
    """Convert a checkpoint of the released Adapter4Rec code (text or image; full, Houlsby, Pfeiffer,
    LoRA).
    """
    from transrec_core.models.adapter4rec import convert

    for name, value, known in (
        ("objective", objective, ("sasrec", "cpc")),
        ("activation", activation, ("relu", "gelu")),
    ):
        if value not in known:
            raise UserError(f"--{name} {value}: choose {' or '.join(known)}")
    if out.exists():
        raise UserError(f"{out}: exists already; name a new folder")
    model = convert(checkpoint, objective, item_heads, user_heads, activation)  # type: ignore[arg-type]
    model.save_pretrained(out, {"converted from": checkpoint.name, "format": "Adapter4Rec"})
    typer.echo(f"{out}: base model; TransRec.from_pretrained reads it")
    for name in model.adapters:
        model.save_adapter(out / "adapter", name)
        config = model.adapter_configs[name]
        typer.echo(
            f"{out / 'adapter'}: {config.method}, sizes {config.item_size} / {config.user_size}; load_adapter reads it"
        )
        if config.method == "lora":
            typer.echo(
                "note: the released code trains LoRA on fresh query and value layers; these, not the pretrained ones, are in the base model"
            )


def main() -> None:
    """Entry point: one-line errors, exit status 2 for a user's mistake."""
    run_app(app)
