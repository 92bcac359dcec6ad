"""Intervals against theory; verdicts on both sides of every line; a family of tests against Holm by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from transrec_core.evaluation.statistics import (
    Interval,
    crossing,
    interval,
    paired_difference,
    verdict,
    verdicts,
)


def normal(mean: float, sd: float, draws: int = 4000) -> Interval:
    """An interval whose draws are a normal distribution, quantile by quantile."""
    return from_draws(mean + sd * norm.ppf((np.arange(draws) + 0.5) / draws))


def from_draws(draws: np.ndarray) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(draws.mean()), float(low), float(high), draws)


def test_one_seed_interval_is_the_binomial_one():
    values = (np.arange(5000) % 5 == 0).astype(float)
    found = interval(values)
    half = 1.96 * np.sqrt(0.2 * 0.8 / 5000)
    assert found.mean == pytest.approx(0.2)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)
    assert found.low < found.mean < found.high
    assert found.draws.std() == pytest.approx(half / 1.96, rel=0.08)


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


@pytest.mark.slow
def test_intervals_cover_the_truth():
    """Users and seeds drawn anew 200 times: the 95 % interval holds the truth nearly that often."""
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
    ("mean", "sd", "expected"),
    [
        (0.0, 0.55, "comparable"),  # z of 1.8 at both margins
        (0.0, 0.65, "undecided"),  # z of 1.5
        (-0.5, 0.2, "comparable"),  # different, but by less than what matters
        (0.5, 0.2, "comparable"),
        (-1.5, 0.7, "worse"),  # z of 2.1
        (1.5, 0.7, "better"),
        (-1.5, 0.85, "undecided"),  # z of 1.8
        (1.5, 0.85, "undecided"),
        (0.9, 0.3, "better"),  # inside the margin, but perhaps outside
    ],
)
def test_verdicts_on_both_sides_of_every_line(mean, sd, expected):
    assert verdict(normal(mean, sd), 1.0) == expected


def test_p_values_are_those_of_the_normal_distribution_and_never_zero():
    found = normal(0.3, 0.2)
    assert found.p_difference() == pytest.approx(2 * norm.sf(1.5), abs=1e-3)
    assert found.p_equivalence(0.6) == pytest.approx(norm.sf(1.5), abs=1e-3)
    assert normal(5.0, 0.1).p_difference() == pytest.approx(2 / 4001)
    assert from_draws(np.zeros(100)).p_difference() == 1


@pytest.mark.slow
def test_half_the_users_turn_comparable_into_undecided():
    a = np.tile([1.0, 0.0, 0.0, 1.0, 0.0], 4000)[None]
    b = a.copy()
    b[0, ::25], b[0, 1::25] = 0, 1  # 8 % of the users disagree, as many one way as the other
    assert verdict(paired_difference(a, b, draws=1000), 0.004) == "comparable"
    assert verdict(paired_difference(a[:, :10_000], b[:, :10_000], draws=1000), 0.004) == "undecided"


@pytest.mark.slow
def test_a_borderline_difference_does_not_survive_a_large_family():
    borderline, nothing = normal(2.3, 1.0), [normal(0.0, 1.0) for _ in range(19)]
    assert verdict(borderline, 0.1) == "better"
    assert set(verdicts([borderline, *nothing], 0.1)) == {"undecided"}
    equal, wide = normal(0.0, 0.5), [normal(0.0, 5.0) for _ in range(19)]
    assert verdict(equal, 1.0) == "comparable"
    assert set(verdicts([equal, *wide], 1.0)) == {"undecided"}
    assert verdicts([normal(5.0, 1.0), *nothing], 0.1)[0] == "better"  # a clear one does
    assert verdicts([], 1.0) == []


def holm(p: list[float], alpha: float = 0.05) -> set[int]:
    """What is rejected: the smallest p at alpha / m, the next at alpha / (m - 1), and so on until one is
    not.
    """
    rejected = set()
    for left, number in zip(range(len(p), 0, -1), np.argsort(p, kind="stable"), strict=True):
        if p[number] > alpha / left:
            break
        rejected.add(int(number))
    return rejected


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_families_are_corrected_as_by_hand(seed):
    rng, draws, margin = np.random.default_rng(seed), 3999, 0.5
    against = rng.integers(0, rng.choice([10, 50, 200]), size=12)  # draws on the wrong side, out of 3999
    up = rng.random(12) < 0.5
    far = [
        from_draws(np.where(np.arange(draws) < n, -1.0, 1.0) * (1 if u else -1))
        for n, u in zip(against, up, strict=True)
    ]
    rejected = holm([2 * (n + 1) / (draws + 1) for n in against])
    assert verdicts(far, margin) == [
        ("better" if u else "worse") if i in rejected else "undecided" for i, u in enumerate(up)
    ]
    near = [
        from_draws(np.where(np.arange(draws) < n, 1.0, np.where(np.arange(draws) % 2, 0.1, -0.1)))
        for n in against
    ]
    rejected = holm([(n + 1) / (draws + 1) for n in against])
    assert verdicts(near, margin) == ["comparable" if i in rejected else "undecided" for i in range(12)]


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_detectable_difference_is_found_four_times_in_five(seeds):
    rng = np.random.default_rng(0)

    def measured(truth: float) -> Interval:
        users, spread = rng.normal(0, 1, (1, 300)), rng.normal(0, 0.02, (seeds, 1)) * (seeds > 1)
        return interval(truth + users + spread + 0.3 * rng.normal(size=(seeds, 300)), draws=1000)

    truth = np.mean([measured(0.0).detectable() for _ in range(20)])
    found = np.mean([measured(truth).p_difference() < 0.05 for _ in range(300)])
    assert 0.7 <= found <= 0.9
    assert np.mean([measured(truth / 2).p_difference() < 0.05 for _ in range(100)]) < 0.5


def test_a_crossing_is_found_where_straight_lines_change_sign():
    x, rng = [1.0, 3.0, 10.0, 25.0, 50.0, 100.0], np.random.default_rng(0)

    def line(at: float, noise: float) -> list[Interval]:
        return [from_draws(np.log(at) - np.log(v) + noise * rng.normal(size=500)) for v in x]

    for at in (2.0, 7.0, 80.0):
        found = crossing(x, line(at, 1e-6))
        assert found.place == pytest.approx(at, rel=1e-4) and found.share == 1
        assert found.low <= found.place <= found.high and found.high - found.low < 1e-3 * at
    wide = crossing(x, line(7.0, 0.2))
    assert wide.low < 7 < wide.high and wide.high - wide.low > 0.5
    none = crossing(x, line(1000.0, 1e-6))
    assert none.share == 0 and np.isnan([none.place, none.low, none.high]).all()
    half = crossing(x, [from_draws(np.where(np.arange(500) < 250, np.log(7.0), 99.0) - np.log(v)) for v in x])
    assert half.share == 0.5 and half.place == pytest.approx(7)
    assert crossing(x, line(7.0, 1e-6)).certain and not none.certain
    noise = [from_draws(np.random.default_rng(k).normal(size=500)) for k in range(len(x))]
    assert (
        crossing(x, noise).share > 0.9 and not crossing(x, noise).certain
    )  # noise around zero changes its sign, too
