"""The ``transrec`` command: its groups of commands, one module each.

What is heavy is imported by the command that needs it: nobody should wait for torch to check data.
"""

from __future__ import annotations

from transrec_core.base.console import command_group
from transrec_core.base.console import run as run_app
from transrec_core.cli import data, keys, models, recommend, records, run, study, verdicts

app = command_group()
for part in (run, records, recommend, study, verdicts, models, keys):
    app.registered_commands += part.app.registered_commands
app.add_typer(data.app, name="data", help="Check and convert dataset folders.")


def main() -> None:
    """Entry point: one-line errors, exit status 2 for a user's mistake."""
    run_app(app)
