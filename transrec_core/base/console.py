"""Commands: how a group of them is made, and how one ends: one line for a mistake, status 2 for the user's,
1 for the machine's, 130 for Ctrl-C.
"""

from __future__ import annotations

import sys

import typer

from transrec_core.base.errors import UserError


def command_group() -> typer.Typer:
    """A Typer application whose help is plain text: it is there at once, and reads the same in a file."""
    return typer.Typer(
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )


def run(app: typer.Typer) -> None:
    """Runs a Typer application and exits."""
    try:
        app()
    except SystemExit as end:  # Typer turns Ctrl-C into this, without a word
        if end.code == 130:
            _end("interrupted; the same command goes on from the last checkpoint, if there is one", 130)
        raise
    except UserError as error:
        _end(str(error), 2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}", 1)


def _end(message: str, status: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)
