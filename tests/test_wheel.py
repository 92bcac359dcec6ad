"""The wheel works without the repository: small, whole, and the command runs from it in an empty folder."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.helpers import environment
from tests.test_front_door import AGAIN, script
from transrec_core.book.execute import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of a new environment that holds the wheel; what it depends on is lent by this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    made = subprocess.run(build, capture_output=True, text=True, cwd=folder)
    assert made.returncode == 0, made.stderr[-2000:]
    wheel = next(folder.glob("*.whl"))
    assert wheel.stat().st_size < 10_000_000
    venv.create(folder / "env", with_pip=False)
    site = next((folder / "env").glob("lib/python*/site-packages"))
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True)
    (site / "lent.pth").write_text(
        sysconfig.get_paths()["purelib"] + "\n"
    )  # whose own .pth files are not read
    return folder / "env" / "bin" / "python"


def test_the_package_is_the_wheels_and_holds_what_it_needs(python, tmp_path):
    code = """
import transrec_core
from pathlib import Path
from transrec_core.study.grids import load_profile
from transrec_core.study.sources import wanted
from transrec_core.world.encoders import ASSETS
here = Path(transrec_core.__file__).parent
assert "wheel" in str(here), here
assert (here / "py.typed").is_file()
assert all((ASSETS / "source" / name / "model.safetensors").is_file() for name in wanted())
print(len(load_profile("study").questions))
"""
    done = subprocess.run([str(python), "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 4


@pytest.mark.parametrize("arguments", [["--help"], ["params", "--all"], ["study", "rq1", "--dry-run"]])
def test_the_command_works_from_the_wheel(python, tmp_path, arguments):
    command = [str(python), "-m", "transrec_core.cli", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_readmes_script_runs_from_the_wheel_in_an_empty_folder(python, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    out = []
    for code in (script(tmp_path / "data"), AGAIN):
        command = [str(python), "-c", code]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr[-2000:]
        out.append(done.stdout.splitlines()[-1])
    assert out[0] == out[1]  # the same ids in another process
