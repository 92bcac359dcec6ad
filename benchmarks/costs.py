"""What is saved, measured side by side in one run: `make bench` prints the table and `--out` keeps it for the
book.

Each row runs its two sides in turns, several pairs; what counts is the median of the pairs' ratios, with the
smallest and the largest. The first pair is not counted. Goals were set before anything was measured; one that
is missed says so. Titles are those of amazon_instruments if `--data-root` (make bench DATA=...) is given,
else random ones of the same lengths on average.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import data_scale
from benchmarks.pairs import Row, show, side_by_side, summary, turns
from benchmarks.rankings import MB, ranking
from benchmarks.steps import THREADS, steps
from benchmarks.subjects import instruments, small, trainer
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.data.batching import Batcher
from transrec_core.data.domain import Domain
from transrec_core.study.provenance import environment
from transrec_core.training.costs import peak_bytes, standing_bytes
from transrec_core.training.inputs import PooledStates

PARTS = ["step", "prefix", "side", "memory", "ranking", "data"]


def prefix(domain: Domain, rows: list[Row]) -> None:
    """Part 2: adapters in the top two of six layers, the four below computed once."""
    top = {"method": "houlsby", "layers": "top-2"}
    without, kept = (trainer(domain, 384, 6, top, cache=cache) for cache in ("off", "fp32"))
    gap = abs(float(without.step()) - float(kept.step()))
    times = side_by_side(without.step, kept.step, 7)
    # In units of a layer's forward pass. The way back is as dear as the way forth, and ends at the attention
    # of the lowest adapted layer, which is a third of it.
    back = 2 - 1 / 3
    note = (
        f"{kept.inputs.note}; losses of the first step differ by {gap:.1e}; by matrix work alone, 6 layers "
        f"forth and {back:.1f} back against 2 and {back:.1f}, it could be {(6 + back) / (2 + back):.1f}"
    )
    what = "step of adapters in the top 2 of 6 layers"
    rows.append(Row("prefix", what, "all layers run", "s", *times, 7, 2.5, note))


def side(domain: Domain, whole: Domain, rows: list[Row]) -> dict[str, float]:
    """Part 3: an epoch of the side network on kept states against one of full fine-tuning, and the peak
    memory of their steps.
    """
    full = trainer(domain, 384, 6)
    began = time.perf_counter()
    beside = trainer(domain, 384, 6, {"method": "side"})
    building = (time.perf_counter() - began) * whole.catalog.n_items / domain.catalog.n_items
    epoch = Batcher(whole.split.train, "sasrec", "batch", 32, 20, 0).steps_per_epoch
    full.step(), beside.step()
    times = [
        (epoch * one, epoch * ten / 10)
        for one, ten in turns(full.step, lambda: [beside.step() for _ in range(10)], 3)
    ]
    slow, fast, *ratios = summary(times)
    note = (
        f"{epoch} steps an epoch, from the time of a step; keeping the states of {whole.catalog.n_items:,} "
        f"titles takes {building:.0f} s once, earned back after {building / (slow - fast):.2f} epochs"
    )
    what = "epoch of a side network, 6 layers of width 384"
    rows.append(Row("side", what, "full fine-tuning", "s", slow, fast, *ratios, 3, 20, note))
    before, after = ((peak_bytes(one.step) + standing_bytes(one.model)) / MB for one in (full, beside))
    assert isinstance(beside.inputs, PooledStates)
    size = beside.inputs.bytes / MB
    note = f"model and Adam included; the kept states, {size:.0f} MiB here, are read through a memory map"
    rows.append(
        Row.once("side", "peak memory of its step", "full fine-tuning", "MiB", before, after, 5, note)
    )
    return {"building": building, "full": slow, "side": fast}


def memory(domain: Domain, rows: list[Row]) -> None:
    """Part 5: what a full fine-tuning step takes with recomputed activations and with its items in parts."""
    plain = trainer(domain, 384, 6)
    plain.step()
    top = peak_bytes(plain.step) / MB
    for name, options in (
        ("activations computed again", {"checkpointing": True}),
        ("items in 8 parts", {"accumulate": 8}),
    ):
        other = trainer(domain, 384, 6, **options)
        other.step()
        least = peak_bytes(other.step) / MB
        seconds = side_by_side(plain.step, other.step, 1)
        note = (
            f"takes {1 / seconds[2]:.2f} times as long; parameters and Adam "
            f"({standing_bytes(plain.model) / MB:.0f} MiB) come on top of both"
        )
        what = f"memory of a full step, {name}"
        rows.append(Row.once("memory", what, "plain step", "MiB", top, least, 1, note))


def data(rows: list[Row], users: int, items: int) -> dict[str, float]:
    """Part 8: a dataset folder of a million users and a hundred thousand items."""
    facts = data_scale.measure(users, items)
    slowest = max(
        facts[f"{name}_s"] for name in ("sample", "subsample", "select", "leave_one_out", "restricted")
    )
    limits = (
        ("loading a dataset folder", 20.0, facts["load_s"], "s"),
        ("peak memory of loading it", 2e9 / MB, facts["load_peak_mb"], "MiB"),
        ("slowest subsample or split", 1.0, slowest, "s"),
    )
    for what, limit, value, unit in limits:
        note = (
            f"{users:,} users, {items:,} items, {facts['interactions']:,.0f} interactions; one process, "
            "one thread"
        )
        rows.append(Row.once("data", what, "limit", unit, limit, value, 1, note))
    return facts


def main() -> None:
    """Runs all parts, prints the table, and writes it with ``--out``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, help="folder with amazon_instruments")
    parser.add_argument("--out", type=Path, help="JSON file for the book")
    parser.add_argument(
        "--only", nargs="*", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--users", type=int, default=1_000_000, help="of the large dataset folder")
    arguments = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(THREADS)
    began = time.perf_counter()
    try:
        whole = instruments(arguments.data_root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    few = small(whole)
    rows: list[Row] = []
    # Operations a second of a training step, for the arithmetic of larger sizes.
    rates: list[dict[str, Any]] = []
    extra: dict[str, Any] = {}
    parts: dict[str, Callable[[], Any]] = {
        "step": lambda: steps(arguments.data_root, rows, rates),
        "prefix": lambda: prefix(few, rows),
        "side": lambda: side(few, whole, rows),
        "memory": lambda: memory(few, rows),
        "ranking": lambda: ranking(rows),
        "data": lambda: data(rows, arguments.users, arguments.users // 10),
    }
    for name in arguments.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        extra[name] = parts[name]()
    machine = environment()
    versions = machine["versions"]
    print(
        f"torch {versions['torch']}, transformers {versions['transformers']}, {machine['cpu']}, "
        f"{machine['threads']} threads; titles: {whole.name}"
    )
    show(rows)
    seconds = time.perf_counter() - began
    print(f"{seconds:.0f} s. The GPU part is not in this table: python -m benchmarks.gpu")
    if arguments.out:
        facts = {
            "machine": machine | {"architecture": platform.machine()},
            "titles": whole.name,
            "seconds": seconds,
            "rates": rates,
            "rows": [asdict(r) | {"reached": r.reached} for r in rows],
            "extra": extra,
        }
        atomic_write(arguments.out, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
