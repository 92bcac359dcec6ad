"""Commands about models: params, import-adapter4rec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from transrec_core.base.console import command_group
from transrec_core.base.errors import UserError

app = command_group()


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
    from transrec_core.base.config import first_problem
    from transrec_core.models.params import count, table
    from transrec_core.models.spec import ModelSpec

    given = {"item_size": item_size, "user_size": user_size, "position": position, "encoders": encoders}
    fields = {key: value for key, value in given.items() if value is not None}
    try:
        spec = ModelSpec(dim=dim)
        if every:
            rows = table(encoder, spec, **fields)
        else:
            rows = [count(encoder, AdapterConfig.model_validate({"method": method, **fields}), spec)]
    except ValidationError as error:
        raise UserError(first_problem(error)) from None
    if as_json:
        typer.echo(json.dumps(rows if every else rows[0], indent=2))
        return
    typer.echo(f"{encoder}, d = {dim}: {rows[0]['base']:,} parameters without adapters")
    typer.echo(f"{'method':<12} {'added':>12} {'with head':>12} {'of all':>8} {'on disk':>10}")
    for row in rows:
        counts = f"{row['method']:<12} {row['added']:>12,} {row['trained']:>12,}"
        typer.echo(f"{counts} {100 * row['share']:>6.2f} % {row['bytes'] / 2**20:>6.2f} MiB")
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
        sizes = f"{config.item_size} / {config.user_size}"
        typer.echo(f"{out / 'adapter'}: {config.method}, sizes {sizes}; load_adapter reads it")
        if config.method == "lora":
            typer.echo(
                "note: the released code trains LoRA on fresh query and value layers; these, not the "
                "pretrained ones, are in the base model"
            )
