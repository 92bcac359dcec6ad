"""What CONTRIBUTING promises, taken literally: its examples in a copy, where all stays green."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from transrec_core.book.execute import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    """A copy of what is in the repository, to which a contributor adds things."""
    folder = tmp_path_factory.mktemp("contributor") / "copy"
    listed = subprocess.run(
        ["git", "ls-files", "-zco", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S)


def green(folder: Path, *command: str) -> str:
    """Runs a Python module in the copy, which is the only place that it finds the package in; its output."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    return done.stdout


def laws(folder: Path, name: str) -> None:
    out = green(folder, "pytest", "-p", "no:cacheprovider", "-n", "0", "tests/adapters", "-k", name)
    assert int(re.search(r"(\d+) passed", out)[1]) > 50


@pytest.fixture(scope="module")
def with_scale(copied) -> Path:
    """The copy with CONTRIBUTING's adapter in it: one file, nothing else."""
    file = blocks()[0]
    assert file.count("\n") <= 50
    (copied / "transrec_core" / "adapters" / "methods" / "scale.py").write_text(file)
    return copied


LINT_IMPORTS = "import sys, importlinter.cli as c; sys.argv = ['lint-imports']; c.lint_imports_command()"


@pytest.mark.parametrize("tool", ["ruff check .", "ruff format --check .", "mypy", "lint-imports"])
def test_contributings_adapter_passes_the_linters(with_scale, tool):
    if tool == "lint-imports":
        (with_scale / "doors.py").write_text(LINT_IMPORTS)
        green(with_scale, "doors")
        (with_scale / "doors.py").unlink()
    else:
        green(with_scale, *tool.split())


def test_contributings_adapter_keeps_all_laws(with_scale):
    laws(with_scale, "scale")


def test_contributings_adapter_is_named_drawn_and_counted_everywhere(with_scale):
    green(
        with_scale,
        "pytest",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "tests/report",
        "tests/models/test_params.py",
    )
    assert "scale" in green(with_scale, "transrec_core.cli", "params", "--all")


@pytest.mark.parametrize("page", ["anatomy", "goldens"])
def test_contributings_adapter_appears_on_the_pages(with_scale, page):
    data = str(with_scale / "runs")
    green(with_scale, "transrec_core.book", "execute", "--profile", "smoke", "--only", page, "--data", data)
    text = (with_scale / "book" / "executed" / f"{page}.ipynb").read_text(encoding="utf-8")
    assert "scale" in text


def test_contributings_backbone_is_one_entry_and_one_row_and_the_laws_cover_it(copied):
    entry, row = blocks()[1:3]
    assert entry.count("\n") + row.count("\n") <= 40
    for file, block in (("transrec_core/adapters/anatomy.py", entry), ("tests/tiny.py", row)):
        with (copied / file).open("a") as code:
            code.write("\n" + block)
    laws(copied, "dinov2")
