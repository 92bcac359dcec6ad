"""Nobody waits for what a command does not need."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.helpers import environment

HEAVY = ("torch", "transformers", "accelerate", "pandas", "pyarrow", "scipy", "matplotlib", "PIL", "numpy")


def imported(*arguments: str) -> tuple[set[str], str]:
    """The heavy packages that a command imports, and what it prints."""
    code = (
        "import sys; from transrec_core.cli.main import app; app(standalone_mode=False); "
        f"print('imported', *[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    output, _, names = done.stdout.rpartition("imported")
    return set(names.split()), output


@pytest.mark.parametrize(
    "arguments", [(), ("run",), ("study",), ("data",), ("data", "check"), ("recommend",)]
)
def test_help_imports_nothing_heavy(arguments):
    if arguments == ("recommend",) and find_spec("transrec_core.cli.recommend") is None:
        pytest.skip("no such command yet")
    names, output = imported(*arguments, "--help")
    assert names == set() and "Usage" in output


def test_checking_data_imports_nothing_heavy(tmp_path):
    (tmp_path / "items.tsv").write_text("a\tA\nb\tB\n")
    (tmp_path / "users.tsv").write_text("u\ta b\n")
    names, output = imported("data", "check", str(tmp_path))
    assert names == {"numpy"} and "interactions" in output
    names, _ = imported("data", "check", str(tmp_path), "--json")
    assert names == {"numpy"}


def test_checking_pictures_imports_pillow(folders):
    names, _ = imported("data", "check", str(folders / "a"))
    assert names == {"numpy", "PIL"}
