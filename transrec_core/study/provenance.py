"""What made a record: versions of the packages, and a fingerprint of the code that its result depends on."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
from typing import Any

import torch

import transrec_core
from transrec_core.adapters.registry import METHODS
from transrec_core.study.meaning import PACKAGE, meaning, used
from transrec_core.study.specs import RunSpec
from transrec_core.world.encoders import RECIPES

#: What every run goes through.
ALWAYS = (
    "training.trainer",
    "evaluation.controls",
    "evaluation.cold",
    "data.loading",
    "models.transrec",
    "models.item_encoder",
)


def code_version(spec: RunSpec | None = None) -> str:
    """12 hex digits for what the code that a run uses computes, see :mod:`transrec_core.study.meaning`.

    Of the adapters it is the run's own method and what all methods share; the embedded world and the building
    of encoders count for runs on them only.

    Args:
        spec: the run; None takes what every run uses.
    """
    names = list(ALWAYS)
    if spec is not None:
        names += ["world.loading"] if spec.target.is_world or spec.source.data.is_world else []
        names += ["world.encoders"] if spec.encoder in RECIPES else []
    modules = {"transrec_core.study.stages"}.union(*(used(f"transrec_core.{name}") for name in names))
    if spec is not None and spec.adapter is not None:
        modules |= used(METHODS[spec.adapter.method].__module__)
    return meaning(modules)


def environment(spec: RunSpec | None = None) -> dict[str, Any]:
    """What a run ran on: versions, commit, processor kind; no names of machines or folders.

    Args:
        spec: the run, for the version of its code.
    """
    packages = ("torch", "transformers", "accelerate", "numpy")
    git = ["git", "rev-parse", "--short=12", "HEAD"]
    try:
        commit = subprocess.run(git, cwd=PACKAGE, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "versions": {"transrec": transrec_core.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "commit": commit,
        "code": code_version(spec),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
