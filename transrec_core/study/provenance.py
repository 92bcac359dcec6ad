"""What made a record: versions of the packages, and a fingerprint of the code that results depend on."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import transrec_core

PACKAGE = Path(transrec_core.__file__).parent

#: Modules that can change a result; tables, figures, commands and executors can't.
_RESULTS = (
    "adapters/*.py",
    "data/*.py",
    "models/*.py",
    "artefacts.py",
    "encoders.py",
    "evaluation.py",
    "features.py",
    "nearest.py",
    "stages.py",
    "training.py",
)
_APART = {"adapters/peft_format.py", "data/cli.py"}


@functools.cache
def code_version() -> str:
    """12 hex digits of the SHA-256 of the code that results depend on, blank lines and lines of comment left
    out.

    It is read once a process, so a file that is edited meanwhile does not change what a running process says
    of itself.
    """
    digest = hashlib.sha256()
    paths = sorted({path for pattern in _RESULTS for path in PACKAGE.glob(pattern)})
    for path in paths:
        name = path.relative_to(PACKAGE).as_posix()
        if name in _APART:
            continue
        lines = [line.rstrip() for line in path.read_text(encoding="utf-8").splitlines()]
        kept = [line for line in lines if line and not line.lstrip().startswith("#")]
        digest.update("\n".join([name, *kept, ""]).encode())
    return digest.hexdigest()[:12]


def environment() -> dict[str, Any]:
    """What the run ran on: versions, commit, processor kind; no names of machines or folders."""
    packages = ("torch", "transformers", "accelerate", "numpy")
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=PACKAGE,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "versions": {"transrec": transrec_core.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "commit": commit,
        "code": code_version(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
