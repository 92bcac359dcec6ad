"""Do the intervals hold what they say? Simulated comparisons with a known true difference, judged by the
study's own statistics.

    python benchmarks/calibration.py [--repeats 2000] [--out results/benchmarks/calibration.json]

Two methods are tested on the same users with S seeds. Each user has a chance of a hit, correlated between the
methods; each seed moves the difference of the methods by a draw of its own, with the given standard
deviation. For each setting the table prints how often the 95 % interval covers the true difference; with the
true difference at the margin, how often the verdict is a false "comparable" (at most 5 % is promised); and,
for a family of sixteen methods none of which differs, how often any is called "worse" or "better" (at most 5
%, by Holm's correction). A rate of 5 % has a standard error of half a point at 2,000 repeats, one point for
the families, of which there are a quarter as many.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from transrec_core.base.files import atomic_write
from transrec_core.evaluation.statistics import ALPHA, RELATIVE_MARGIN, paired_difference, verdict
from transrec_core.study.provenance import environment

RATES = (
    "coverage of 95 % intervals (%)",
    "false comparable (%)",
    "families with a false worse or better (%)",
)
FAMILY = 16
BASE = 0.32  # HR@10 of the reference, as full fine-tuning's in the first cell


def draw(
    rng: np.random.Generator, seeds: int, users: int, difference: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Hits of a method and of the reference [seeds, users], whose expected difference is ``difference``."""
    chance = rng.beta(1.2, 1.2 * (1 - BASE) / BASE, users)
    shift = difference + rng.normal(0, spread, (seeds, 1))
    luck = rng.random((seeds, users)), rng.random((seeds, users))
    reference = (luck[0] < chance).astype(np.float32)
    # a share of the reference's outcomes is kept, so that users agree; the rest are drawn anew with the
    # shifted chance
    again = rng.random((seeds, users)) < 0.5
    target = np.clip(chance + 2 * shift, 0, 1)
    method = np.where(again, luck[1] < target, reference).astype(np.float32)
    return method, reference


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="also write the table as JSON")
    arguments = parser.parse_args()
    margin, began = RELATIVE_MARGIN * BASE, time.perf_counter()
    rows = []
    settings = [
        (seeds, spread) for seeds in (1, 2, 3, 5) for spread in (0.0, 0.003, 0.01) if seeds > 1 or spread == 0
    ]
    for seeds, spread in tqdm(settings):
        rng = np.random.default_rng(seeds * 1000 + round(spread * 1e5))
        # clipping at 0 and 1 moves the mean a little: the truth is what very many users and seeds give
        truth = {
            wanted: float(
                np.mean([np.subtract(*draw(rng, 2000, 500, wanted, spread)).mean() for _ in range(16)])
            )
            for wanted in (0.0, margin)
        }
        covered = comparable = families = 0
        for repeat in range(arguments.repeats):
            at_zero = paired_difference(*draw(rng, seeds, arguments.users, 0.0, spread))
            covered += at_zero.low <= truth[0.0] <= at_zero.high
            at_margin = paired_difference(*draw(rng, seeds, arguments.users, margin, spread))
            comparable += verdict(at_margin, truth[margin]) == "comparable"
            if repeat % 4 == 0:
                family = [
                    paired_difference(*draw(rng, seeds, arguments.users, 0.0, spread)) for _ in range(FAMILY)
                ]
                moved = [replace(d, draws=d.draws - truth[0.0]) for d in family]
                families += (
                    min(d.p_difference() for d in moved) <= ALPHA / FAMILY
                )  # then, and only then, Holm rejects one or more
        rates = (100 * count / arguments.repeats for count in (covered, comparable, 4 * families))
        rows.append(
            {"seeds": seeds, "spread between seeds (points)": 100 * spread}
            | dict(zip(RATES, rates, strict=True))
        )
    print(pd.DataFrame(rows).round(1).to_string(index=False))
    if arguments.out:
        facts = {
            "command": "python benchmarks/calibration.py",
            "repeats": arguments.repeats,
            "users": arguments.users,
        }
        facts |= {"seconds": round(time.perf_counter() - began)}
        facts |= {"margin (points)": 100 * margin, "environment": environment(), "rows": rows}
        atomic_write(arguments.out, json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
