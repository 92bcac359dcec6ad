"""Do the intervals hold what they say? Simulated comparisons with a known true difference, judged by the study's own statistics.

    python benchmarks/calibration.py [--repeats 2000] [--out results/benchmarks/calibration.json]

Two methods are tested on the same users with S seeds. Each user has a chance of a hit, correlated between the methods; each seed moves the
difference of the methods by a draw of its own, with the given standard deviation. For each setting the table prints how often the 95 % interval
covers the true difference; with no true difference, how often the verdict is a false "worse" or "better"; and with the true difference at the
margin, how often it is a false "comparable". At most 5 % of each is promised.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from transrec_core.files import atomic_write
from transrec_core.provenance import environment
from transrec_core.statistics import RELATIVE_MARGIN, paired_difference, verdict

RATES = ("coverage of 95 % intervals (%)", "false worse or better (%)", "false comparable (%)")
BASE = 0.32  # HR@10 of the reference, as full fine-tuning's in the first cell


def draw(rng: np.random.Generator, seeds: int, users: int, difference: float, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Hits of a method and of the reference [seeds, users], whose expected difference is ``difference``."""
    chance = np.clip(rng.beta(1.2, 1.2 * (1 - BASE) / BASE, users), 0, 1)
    shift = difference + rng.normal(0, spread, (seeds, 1))
    luck = rng.random((seeds, users)), rng.random((seeds, users))
    reference = (luck[0] < chance).astype(np.float32)
    # a share of the reference's outcomes is kept, so that users agree; the rest are drawn anew with the shifted chance
    again = rng.random((seeds, users)) < 0.5
    target = np.clip(chance + 2 * shift, 0, 1)
    method = np.where(again, luck[1] < target, reference).astype(np.float32)
    return method, reference


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="also write the table as JSON")
    arguments = parser.parse_args()
    margin = RELATIVE_MARGIN * BASE
    rows = []
    settings = [(seeds, spread) for seeds in (1, 2, 3, 5) for spread in (0.0, 0.003, 0.01) if seeds > 1 or spread == 0]
    for seeds, spread in tqdm(settings):
        rng = np.random.default_rng(seeds * 1000 + round(spread * 1e5))
        # clipping at 0 and 1 moves the mean a little: the truth is what very many users and seeds give
        truth = {wanted: float(np.mean([np.subtract(*draw(rng, 2000, 500, wanted, spread)).mean() for _ in range(16)])) for wanted in (0.0, margin)}
        covered = unequal = comparable = 0
        for _ in range(arguments.repeats):
            found = paired_difference(*draw(rng, seeds, arguments.users, 0.0, spread))
            covered += found.low <= truth[0.0] <= found.high
            unequal += verdict(found, 1e-9) in ("worse", "better")
            at_margin = paired_difference(*draw(rng, seeds, arguments.users, margin, spread))
            comparable += verdict(at_margin, truth[margin]) == "comparable"
        rates = (100 * count / arguments.repeats for count in (covered, unequal, comparable))
        rows.append({"seeds": seeds, "spread between seeds (points)": 100 * spread} | dict(zip(RATES, rates, strict=True)))
    print(pd.DataFrame(rows).round(1).to_string(index=False))
    if arguments.out:
        facts = {"command": "python benchmarks/calibration.py", "repeats": arguments.repeats, "users": arguments.users}
        facts |= {"margin (points)": 100 * margin, "environment": environment(), "rows": rows}
        atomic_write(arguments.out, json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
