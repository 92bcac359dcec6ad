"""Does the data layer carry a large dataset? A synthetic folder is written, then read and filtered by a fresh
process.

    python benchmarks/data_scale.py [--users 1000000] [--items 100000]

Users have 2 to some dozens of interactions, 10 on average; popularity follows Zipf's law; titles have eight
words. The reading process uses one core, and its peak memory is that of the whole process: Python, torch and
everything else it imports.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from transrec_core.data.batching import Batcher
from transrec_core.data.interactions import leave_one_out
from transrec_core.data.readers import read_folder
from transrec_core.training.memory import peak_memory_mb

BLOCK = 100_000  # users written at once
STEPS = 50


def write(folder: Path, users: int, items: int, seed: int = 0) -> int:
    """Writes the folder; returns its number of interactions."""
    rng = np.random.default_rng(seed)
    words = np.array([f"word{n}" for n in range(5000)], dtype=object)[rng.integers(0, 5000, (items, 8))]
    with open(folder / "items.tsv", "w", encoding="utf-8") as file:
        file.writelines(f"i{n}\t{' '.join(title)}\n" for n, title in enumerate(words))
    names = np.array(
        [f"i{n}" for n in rng.permutation(items)], dtype=object
    )  # popular items stand anywhere in the catalogue
    below = np.cumsum(1 / np.arange(1, items + 1))
    total = 0
    with open(folder / "users.tsv", "w", encoding="utf-8") as file:
        for first in range(0, users, BLOCK):
            lengths = 1 + rng.geometric(1 / 9, min(BLOCK, users - first))
            ends = np.cumsum(lengths)
            drawn = names[np.searchsorted(below, rng.random(ends[-1]) * below[-1], side="right")].tolist()
            file.writelines(
                f"u{first + u}\t{' '.join(drawn[end - n : end])}\n"
                for u, (n, end) in enumerate(zip(lengths, ends, strict=True))
            )
            total += len(drawn)
    return total


def read(folder: Path) -> dict[str, float]:
    """Reads the folder in this process; seconds of each operation on it, and peak memory in MiB."""
    facts = {"start_mb": peak_memory_mb(torch.device("cpu"))}

    def timed(name: str, operation: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = operation()
        facts[f"{name}_s"] = time.perf_counter() - began
        return result

    raw = timed("load", lambda: read_folder(folder))
    facts["load_peak_mb"] = peak_memory_mb(torch.device("cpu"))
    inter = raw.interactions
    half = timed("sample", lambda: inter.sample(0.5, 0))
    timed("subsample", lambda: inter.subsample(0.5, 0))
    timed("select", lambda: inter.select(half))
    timed("keep_users", lambda: raw.keep_users(half))
    timed("truncate", lambda: inter.truncate(10))
    timed("min_length", lambda: inter.min_length(5))
    timed("min_item_users", lambda: raw.min_item_users(5))
    timed("k_core", lambda: raw.k_core(5, 5))
    timed("report", raw.report)
    timed("fingerprint", inter.fingerprint)
    split, _ = timed("leave_one_out", lambda: leave_one_out(inter))
    timed("restricted", lambda: split.restricted(np.arange(0, len(split.train), 2)))
    batcher = timed("batcher", lambda: Batcher(split.train, "sasrec", "batch", 128, 20, 0))
    timed("first_batch", lambda: batcher.batch(0))
    timed("batch", lambda: [batcher.batch(step) for step in range(1, STEPS + 1)])
    facts["batch_s"] /= STEPS
    facts["peak_mb"] = peak_memory_mb(torch.device("cpu"))
    return facts


def measure(users: int, items: int) -> dict[str, float]:
    """Writes a folder of that size and has a fresh process read it on one core: see :func:`read`;
    ``write_s`` is the writing's time.
    """
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        facts: dict[str, float] = {
            "users": users,
            "items": items,
            "interactions": write(Path(folder), users, items),
        }
        facts["write_s"] = time.perf_counter() - began
        command = [sys.executable, __file__, "--read", folder]
        child = subprocess.run(
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
        )
        return facts | json.loads(child.stdout)


def main() -> None:
    """Prints one line a fact; with ``--read``, what one process measures on a folder, as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--read", type=Path, metavar="FOLDER", help="only read this folder")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read)))
        return
    for name, value in measure(arguments.users, arguments.items).items():
        what, _, unit = name.rpartition("_")
        print(
            f"{what:<16} {value:12.4f} s"
            if unit == "s"
            else f"{what:<16} {value:12,.0f} MiB"
            if unit == "mb"
            else f"{name:<16} {value:12,}"
        )


if __name__ == "__main__":
    main()
