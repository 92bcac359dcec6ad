"""Statistics that can say no: paired intervals over users and seeds, tests of difference and of equivalence,
and a verdict with a margin.

Compared methods are evaluated on the same users with the same seeds, so differences are taken user by user. A
difference d[s, u] of seed s and user u is a mean, plus what the seed did, plus what the user is like, plus
luck. Its mean over both is drawn again many times:

    mean  +  shrink * (mean over resampled users - mean)  +  s t_{S-1} / sqrt(S)

The users' part is a bootstrap. The seeds' part is a generalized pivotal quantity (Weerahandi 1993,
https://doi.org/10.1080/01621459.1993.10476355), Student's t with S - 1 degrees of freedom, since two to five
seeds can't be resampled well; s^2 is the variance between the seeds' means. Luck within users is part of s^2,
hence the shrinkage sqrt(b / (b + e / S)) of the users' part (b, e: variances of users and of luck).
``benchmarks/calibration.py`` checks all of it by simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.stats import norm, t

#: What a test says of a difference; :class:`transrec_core.report.estimates.Verdict` has these and two more.
Outcome = Literal["comparable", "worse", "better", "undecided"]

#: The margin of the protocol: a difference within 3 % of full fine-tuning's HR@10 is no difference that
#: matters.
RELATIVE_MARGIN = 0.03
#: Level of all tests; power at which a difference counts as detectable.
ALPHA, POWER = 0.05, 0.8


@dataclass(frozen=True)
class Interval:
    """A mean over users and seeds with its 95 % interval.

    Attributes:
        mean: of the values.
        low: lower end.
        high: upper end.
        draws: of the mean that the interval comes from [draws].
    """

    mean: float
    low: float
    high: float
    draws: np.ndarray

    def detectable(self, tests: int = 1) -> float:
        """The true difference that this comparison would find with 80 % probability, as one of so many tests
        (Holm's strictest level).

        Half the interval at that level, and as much more as the power's normal quantile is of the level's.

        Args:
            tests: how many.
        """
        tail = ALPHA / (2 * tests)
        low, high = np.percentile(self.draws, [100 * tail, 100 * (1 - tail)])
        return float((high - low) / 2 * (1 + norm.ppf(POWER) / norm.ppf(1 - tail)))

    def p_difference(self) -> float:
        """Two-sided p-value of "no difference"."""
        return min(1.0, 2 * min(_share(self.draws <= 0), _share(self.draws >= 0)))

    def p_equivalence(self, margin: float) -> float:
        """p-value of "a difference of ``margin`` or more": the larger of two one-sided tests (TOST,
        Schuirmann 1987).

        Args:
            margin: the largest difference that does not matter.
        """
        return max(_share(self.draws <= -margin), _share(self.draws >= margin))


def _share(happened: np.ndarray) -> float:
    # Never zero: that many draws can't say so (Davison and Hinkley 1997, equation 4.11).
    return float((happened.sum() + 1) / (len(happened) + 1))


def hits(ranks: np.ndarray, k: int = 10) -> np.ndarray:
    """Per-case hits of HR@k.

    Args:
        ranks: of each case's target, from 1, any shape.
        k: cut-off.

    Returns:
        1 where the target is among the first k, else 0; float32, the shape of ``ranks``.
    """
    return (ranks <= k).astype(np.float32)


def interval(values: np.ndarray, draws: int = 4000, seed: int = 0, stream: int = 0) -> Interval:
    """Interval of a mean over seeds and users; with one seed it covers users only.

    Args:
        values: [seeds, users], or [users] of a single seed.
        draws: how often the mean is drawn again.
        seed: of the resampled users, which all intervals with it share.
        stream: of the seeds' part; intervals whose draws are combined, and whose runs are not the same, need
            different ones.
    """
    values = np.atleast_2d(values).astype(np.float32)
    n_seeds, n_users = values.shape
    by_seed, by_user = values.mean(1, dtype=np.float64), values.mean(0, dtype=np.float64)
    mean = float(by_seed.mean())
    users = _user_weights(n_users, draws, seed) @ (by_user - mean).astype(np.float32)
    resampled = mean + users.astype(np.float64)
    if n_seeds > 1:
        rest = values - by_user - (by_seed - mean)[:, None]
        luck = float((rest**2).sum() / ((n_seeds - 1) * max(1, n_users - 1)))
        of_users = by_user.var(ddof=1) if n_users > 1 else 0.0  # of a user's mean: b + e / S
        shrink = np.sqrt(max(0.0, 1 - luck / n_seeds / of_users)) if of_users > 0 else 0.0
        deviates = _seed_deviates(n_seeds, draws, seed, stream)
        resampled = mean + shrink * users + by_seed.std(ddof=1) * deviates
    low, high = np.percentile(resampled, [100 * ALPHA / 2, 100 * (1 - ALPHA / 2)])
    return Interval(mean, float(low), float(high), resampled)


@lru_cache(maxsize=64)
def _seed_deviates(n_seeds: int, draws: int, seed: int, stream: int) -> np.ndarray:
    # t / sqrt(S), evenly spread over its quantiles, in random order: tails of few seeds are heavy.
    order = np.random.default_rng([seed, stream, n_seeds]).permutation(draws)
    return np.asarray(t.ppf((order + 0.5) / draws, n_seeds - 1) / np.sqrt(n_seeds))


@lru_cache(maxsize=2)
def _user_weights(n_users: int, draws: int, seed: int) -> np.ndarray:
    # Share of each user in each resample, float32 [draws, users]. All comparisons of a table have the same
    # resamples.
    rng, even = np.random.default_rng(seed), np.full(n_users, 1 / n_users)
    shares = np.empty((draws, n_users), dtype=np.float32)
    for start in range(0, draws, 500):  # the library's counts take twice the room
        block = shares[start : start + 500]
        block[:] = rng.multinomial(n_users, even, size=len(block)) / np.float32(n_users)
    return shares


def paired_difference(
    a: np.ndarray, b: np.ndarray, draws: int = 4000, seed: int = 0, stream: int = 0
) -> Interval:
    """Interval of mean(a) - mean(b), paired.

    Args:
        a: [seeds, users].
        b: of the same users and seeds; one with a single seed is compared with every seed of the other.
        draws: as of :func:`interval`.
        seed: as of :func:`interval`.
        stream: as of :func:`interval`.

    Raises:
        ValueError: if the shapes differ.
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"not the same users: {a.shape[1]} and {b.shape[1]} test cases")
    if a.shape[0] != b.shape[0]:  # a deterministic control has one run only
        a, b = np.broadcast_arrays(a, b)
    return interval(a.astype(np.float32) - b, draws, seed, stream)


@dataclass(frozen=True)
class Crossing:
    """Where a difference changes sign along an axis.

    Attributes:
        place: of the change, median of the draws; NaN if no draw has one.
        low: lower end of its 95 % interval.
        high: upper end.
        share: of the draws that have a change.
        certain: whether the difference is above zero in one place and below zero in another, by their 95 %
            intervals. Noise around zero changes its sign, too.
    """

    place: float
    low: float
    high: float
    share: float
    certain: bool


def crossing(x: Sequence[float], differences: Sequence[Interval]) -> Crossing:
    """The first change of sign of a difference along the logarithm of ``x`` (ascending), by linear
    interpolation, in each draw.

    Args:
        x: where the differences were measured.
        differences: with the same ``seed`` and different streams.
    """
    at = np.log(np.asarray(x, dtype=np.float64))
    values = np.stack([d.draws for d in differences])  # [points, draws]
    change = np.sign(values[1:]) != np.sign(values[:-1])
    crosses = change.any(0)
    certain = any(d.low > 0 for d in differences) and any(d.high < 0 for d in differences)
    if not crosses.any():
        return Crossing(np.nan, np.nan, np.nan, 0.0, certain)
    k, column = change.argmax(0)[crosses], np.flatnonzero(crosses)
    before, after = values[k, column], values[k + 1, column]
    places = np.exp(at[k] + (at[k + 1] - at[k]) * before / (before - after))
    low, middle, high = np.percentile(places, [100 * ALPHA / 2, 50, 100 * (1 - ALPHA / 2)])
    return Crossing(float(middle), float(low), float(high), float(crosses.mean()), certain)


def verdicts(differences: Sequence[Interval], margin: float | Sequence[float]) -> list[Outcome]:
    """What differences to a reference say that belong to one family.

    "comparable": smaller than the margin by TOST. Otherwise "worse" or "better": different from zero.
    Otherwise "undecided". The p-values of each kind are corrected over the family (Holm 1979).

    Args:
        differences: of the family.
        margin: up to which a difference does not matter, in the same unit; one for all, or each its own.
    """
    if not differences:
        return []
    margins = np.broadcast_to(margin, len(differences))
    equal = _rejected([d.p_equivalence(float(m)) for d, m in zip(differences, margins, strict=True)])
    unequal = _rejected([d.p_difference() for d in differences])
    return [
        "comparable" if same else ("worse" if d.mean < 0 else "better") if other else "undecided"
        for d, same, other in zip(differences, equal, unequal, strict=True)
    ]


def _rejected(p_values: list[float]) -> list[bool]:
    # Holm's correction; it changes nothing for a single test, and the library collects garbage at every call.
    if len(p_values) == 1:
        return [p_values[0] <= ALPHA]
    from statsmodels.stats.multitest import multipletests

    return [bool(rejected) for rejected in multipletests(p_values, ALPHA, "holm")[0]]


def verdict(difference: Interval, margin: float) -> Outcome:
    """The verdict on one difference that stands alone, see :func:`verdicts`."""
    return verdicts([difference], margin)[0]
