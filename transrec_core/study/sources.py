"""The shipped source models of the embedded world: built from the profiles' own specifications, and checked
bit for bit.

`python -m transrec_core.study.sources` builds those that are missing; `--check` builds all again beside
them and compares.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from transrec_core.base.files import sha256_of
from transrec_core.study.grids import load_profile, run_spec
from transrec_core.study.specs import RunSpec
from transrec_core.study.stages import train_source
from transrec_core.study.store import Store
from transrec_core.world.encoders import ASSETS
from transrec_core.world.general import compare

FOLDER = ASSETS / "source"


def wanted() -> dict[str, RunSpec]:
    """The source models that the shipped profiles start from, by their content hash."""
    specs = {}
    for name in ("laptop", "smoke", "study"):
        profile = load_profile(name)
        for question in profile.questions.values():
            for cell in question.cells:
                spec = run_spec(profile, cell, "frozen", seed=0)
                specs[spec.source_id()] = spec
    return specs


def _build(spec: RunSpec, folder: Path) -> str:
    torch.set_num_threads(1)  # the order of sums, and so the last bits, depend on the number of threads
    train_source(spec, folder / spec.source_id(), Store(folder), Path())
    return sha256_of(folder / spec.source_id() / "model.safetensors")


def build(folder: Path = FOLDER) -> dict[str, str]:
    """Builds the missing source models, two at a time.

    Args:
        folder: where to.

    Returns:
        SHA-256 of the weights of all, by id.
    """
    specs = [spec for name, spec in wanted().items() if not (folder / name / "config.json").exists()]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_build, specs, [folder] * len(specs)))
    return {name: sha256_of(folder / name / "model.safetensors") for name in wanted()}


def main() -> int:
    """Builds, or with ``--check`` compares; the exit status says whether all are equal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="build all again elsewhere and compare with what ships"
    )
    if not parser.parse_args().check:
        for name, digest in build().items():
            print(name, digest)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        rebuilt = build(Path(temporary))
    return compare(rebuilt, FOLDER, "source model")


if __name__ == "__main__":
    sys.exit(main())
