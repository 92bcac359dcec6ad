"""Statistics that can say no: paired intervals over users and seeds, and a verdict with a margin.

Compared methods are evaluated on the same users with the same seeds, so differences are taken user by user. Both users and
seeds are resampled (a crossed, or "pigeonhole", bootstrap: Owen 2007, https://arxiv.org/abs/0712.1111).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

Verdict = Literal["comparable", "worse", "better", "undecided"]

#: The margin of the protocol: a difference within 3 % of full fine-tuning's HR@10 is no difference that matters.
RELATIVE_MARGIN = 0.03


@dataclass(frozen=True)
class Interval:
    """A mean with bootstrap percentiles; 95 % for intervals, 90 % for the equivalence test (two one-sided tests at 5 %)."""

    mean: float
    low: float
    high: float
    low90: float
    high90: float


def hits(ranks: np.ndarray, k: int = 10) -> np.ndarray:
    """Per-case hits of HR@k, float32, the shape of ``ranks``."""
    return (ranks <= k).astype(np.float32)


def interval(values: np.ndarray, draws: int = 2000, seed: int = 0) -> Interval:
    """Interval of the mean of ``values`` [seeds, users] over both.

    The spread between seeds is widened by sqrt(S / (S - 1)), as a resample of S seeds understates it; with one seed the interval
    covers users only.
    """
    values = np.atleast_2d(values).astype(np.float64)
    n_seeds, n_users = values.shape
    by_seed = values.mean(1)
    mean = float(by_seed.mean())
    # mean over resampled users and seeds = user part + seed part + interaction, all through one weighted mean
    widen = np.sqrt(n_seeds / (n_seeds - 1)) if n_seeds > 1 else 1.0
    centred = values + ((by_seed - mean) * (widen - 1))[:, None]
    means = np.concatenate([
        ((users / n_users) @ centred.T * (seeds / n_seeds)).sum(1) for users, seeds in _resamples(n_seeds, n_users, draws, seed)
    ])  # fmt: skip
    low, low90, high90, high = np.percentile(means, [2.5, 5, 95, 97.5])
    return Interval(mean, float(low), float(high), float(low90), float(high90))


@lru_cache(maxsize=2)
def _resamples(n_seeds: int, n_users: int, draws: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    # How often each user and each seed is drawn, in blocks of draws. All comparisons of a table share them.
    rng = np.random.default_rng(seed)
    block = max(1, 4_000_000 // n_users)
    found = []
    for start in range(0, draws, block):
        size = min(block, draws - start)
        users = rng.multinomial(n_users, np.full(n_users, 1 / n_users), size=size)
        seeds = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=size)
        found.append((users.astype(np.min_scalar_type(users.max())), seeds))
    return found


def paired_difference(a: np.ndarray, b: np.ndarray, draws: int = 2000, seed: int = 0) -> Interval:
    """Interval of mean(a) - mean(b), paired; both [seeds, users] with the same users and seeds.

    Raises:
        ValueError: if the shapes differ.
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"not the same users: {a.shape[1]} and {b.shape[1]} test cases")
    if a.shape[0] != b.shape[0]:  # a deterministic control has one run only
        a, b = np.broadcast_arrays(a, b)
    return interval(a.astype(np.float64) - b, draws, seed)


def verdict(difference: Interval, margin: float) -> Verdict:
    """What a difference to the reference says, with an equivalence margin (same unit).

    "comparable": the 90 % interval lies within +- margin (TOST at 5 %, Schuirmann 1987). Otherwise "worse" or "better": the
    95 % interval lies on one side of zero. Otherwise "undecided".
    """
    if -margin < difference.low90 and difference.high90 < margin:
        return "comparable"
    if difference.high < 0:
        return "worse"
    if difference.low > 0:
        return "better"
    return "undecided"
