"""Commands that list what can be written: keys of a specification, adapter methods."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from transrec_core.base.console import command_group
from transrec_core.base.errors import UserError

app = command_group()


@app.command("keys")
def keys_command(
    beginning: Annotated[
        str, typer.Argument(metavar="[KEY]", help="Only keys that begin like this, e.g. training.lr.")
    ] = "",
) -> None:
    """List the keys of a run's specification, for SPEC.yaml and --set: type, default, meaning."""
    from transrec_core.base.config import nearest
    from transrec_core.study.keys import keys

    rows = [key for key in keys() if key.name.startswith(beginning)]
    if not rows:
        raise UserError(f"no key begins with '{beginning}'; {nearest(beginning, [k.name for k in keys()])}")
    for key in rows:
        of = f" ({', '.join(key.methods)})" if key.methods else ""
        typer.echo(f"{key.name}  {key.kind} = {key.default}{of}")
        typer.echo(textwrap.fill(key.meaning, 106, initial_indent="    ", subsequent_indent="    "))


@app.command("methods")
def methods_command() -> None:
    """List the adapter methods: family, whether they can be merged, what they alone can be set to."""
    from transrec_core.adapters.registry import METHODS
    from transrec_core.study.keys import keys

    typer.echo(f"{'method':<10} {'title':<18} {'family':<20} {'merges':<6}  settings beside those of all")
    special = [key for key in keys() if key.methods]
    for name, adapter in METHODS.items():
        settings = [
            f"{key.name.removeprefix('adapter.')}={key.default}" for key in special if name in key.methods
        ]
        merges = "yes" if adapter.merges else "no"
        title = adapter.title or name
        typer.echo(f"{name:<10} {title:<18} {adapter.family:<20} {merges:<6}  {', '.join(settings)}".rstrip())
    typer.echo("settings of all: `transrec keys adapter`; parameters: `transrec params --all`")
