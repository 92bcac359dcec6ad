"""Intervals against theory and a plain loop; verdicts on both sides of every line."""

from __future__ import annotations

import numpy as np
import pytest

from transrec_core.statistics import Interval, interval, paired_difference, verdict


def test_one_seed_interval_is_the_binomial_one():
    values = (np.arange(5000) % 5 == 0).astype(float)
    found = interval(values)
    half = 1.96 * np.sqrt(0.2 * 0.8 / 5000)
    assert found.mean == pytest.approx(0.2)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)
    assert found.low < found.low90 < found.mean < found.high90 < found.high


def test_pairing_removes_what_users_share():
    rng = np.random.default_rng(0)
    difficulty = rng.random((1, 4000))
    a = (difficulty < 0.40).repeat(3, 0).astype(float)
    b = (difficulty < 0.38).repeat(3, 0).astype(float)
    paired, one = paired_difference(a, b), interval(a)
    assert paired.high - paired.low < 0.5 * (one.high - one.low)
    assert paired.low > 0


def test_spread_between_seeds_widens_the_interval():
    rng = np.random.default_rng(0)
    calm = (rng.random((3, 3000)) < 0.3).astype(float)
    shifted = calm.copy()
    shifted[0, :300], shifted[1, :300] = 1, 0
    assert (interval(shifted).high - interval(shifted).low) > 2 * (interval(calm).high - interval(calm).low)


def test_intervals_cover_the_truth():
    """Users and seeds drawn anew 200 times: the 95 % interval holds the truth nearly that often (three seeds are few)."""
    rng = np.random.default_rng(1)
    covered = 0
    for draw in range(200):
        users, seeds = rng.normal(0, 1, (1, 400)), rng.normal(0, 0.02, (6, 1))
        found = interval(0.1 + 0.3 * users + seeds + 0.2 * rng.normal(size=(6, 400)), draws=400, seed=draw)
        covered += found.low <= 0.1 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_control_with_one_run_is_compared_with_all_seeds():
    a = np.ones((1, 50))
    b = np.zeros((3, 50))
    assert paired_difference(a, b).mean == 1
    with pytest.raises(ValueError, match="not the same users"):
        paired_difference(np.ones((1, 50)), np.ones((1, 49)))


@pytest.mark.parametrize(
    ("low", "low90", "high90", "high", "expected"),
    [
        (-0.9, -0.8, 0.8, 0.9, "comparable"),
        (-0.9, -0.8, -0.2, -0.1, "comparable"),  # different, but by less than what matters
        (-3.0, -2.8, -0.5, -0.2, "worse"),
        (0.2, 0.5, 2.8, 3.0, "better"),
        (-2.0, -1.7, 0.8, 1.0, "undecided"),
    ],
)
def test_verdicts(low, low90, high90, high, expected):
    assert verdict(Interval((low + high) / 2, low, high, low90, high90), 1.0) == expected


def test_half_the_users_turn_comparable_into_undecided():
    a = np.tile([1.0, 0.0, 0.0, 1.0, 0.0], 4000)[None]
    b = a.copy()
    b[0, ::25], b[0, 1::25] = 0, 1  # 8 % of the users disagree, as many one way as the other
    assert verdict(paired_difference(a, b), 0.004) == "comparable"
    assert verdict(paired_difference(a[:, :10_000], b[:, :10_000]), 0.004) == "undecided"
