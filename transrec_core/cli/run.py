"""``transrec run``: one specification becomes a record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from transrec_core.base.console import command_group
from transrec_core.base.errors import UserError
from transrec_core.cli.options import RootOption, StoreOption
from transrec_core.cli.records import print_record

app = command_group()


@app.command("run")
def run_command(
    spec_file: Annotated[
        Path | None, typer.Argument(metavar="[SPEC.yaml]", help="A run's specification.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a field; `transrec keys` lists them."),
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
        str | None,
        typer.Option(
            help="full, head, frozen, scratch, a control (untrained, popularity, item_id, nearest, oracle), "
            "or an adapter method (`transrec methods` lists them)."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the adaptation.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Run again although it is recorded.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the specification and its id, run nothing.")
    ] = False,
    store: StoreOption = Path("runs"),
    data_root: RootOption = Path(),
) -> None:
    """Run one specification and record it; a killed run resumes, a recorded one is shown.

    \b
    Examples:
      transrec run --strategy houlsby                        in the embedded world
      transrec run --source A --target B --encoder minilm --modality text --strategy lora
      transrec run --strategy lora --set adapter.item_size=8 --set training.steps=100
      transrec run SPEC.yaml --data-root DATA --set seed=3
      transrec run SPEC.yaml --dry-run                       what would be run, with all defaults
    """
    import yaml

    from transrec_core.study.checks import check_run
    from transrec_core.study.run import run
    from transrec_core.study.specs import read_spec, validated, with_changes
    from transrec_core.study.store import Store

    fields = {} if spec_file is None else read_spec(spec_file).model_dump(mode="json")
    short = {"source.data.folder": source, "target.folder": target, "encoder": encoder, "seed": seed}
    short |= {"target.modality": modality, "source.data.modality": modality}
    changes = [f"{key}={json.dumps(value)}" for key, value in short.items() if value is not None]
    changes += [] if strategy is None else _strategy(strategy)
    spec = validated(with_changes(fields, changes + (change or [])), str(spec_file or "run"))
    check_run(spec)
    if dry_run:
        typer.echo(f"# id {spec.id()}, source model {spec.source_id()}")
        typer.echo(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False).rstrip())
        return
    print_record(run(spec, Store(store), data_root, refresh, keep=True), store, data_root)


def _strategy(name: str) -> list[str]:
    """What ``--strategy`` changes: adapter methods are strategies here."""
    from transrec_core.adapters.registry import METHODS
    from transrec_core.base.config import nearest
    from transrec_core.study.specs import STRATEGIES

    if name in METHODS:
        return ["strategy=adapter", f"adapter.method={name}"]
    if name not in STRATEGIES or name == "adapter":
        known = [method for method in (*STRATEGIES, *METHODS) if method != "adapter"]
        raise UserError(f"--strategy {name}: no such strategy or adapter method; {nearest(name, known)}")
    return [f"strategy={name}", "adapter=null"]
