"""An estimate prints as it is read; what it holds of runs."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.made_up import band, exact
from transrec_core.report.comparisons import FULL
from transrec_core.report.estimates import Comparison, Costs, Estimate, Verdict, quality
from transrec_core.study.profile import Variant


def test_an_estimate_prints_as_percent_or_points():
    share = Estimate(0.3194, 0.3081, 0.33, seeds=5, cases=7200)
    assert share.percent() == "31.9 [30.8, 33.0]" and share.percent(unit=" %") == "31.9 % [30.8, 33.0]"
    assert share.percent(2) == "31.94 [30.81, 33.00]"
    difference = Estimate(-0.0046, -0.0123, 0.0033)
    assert difference.points() == "-0.5 [-1.2, +0.3]"
    assert (-difference).points(unit=" points") == "+0.5 points [-0.3, +1.2]"
    assert 0.31 in share and 0.34 not in share and share.low in share


def test_the_quality_of_runs_is_a_share():
    records = exact("full", band(0, 30), seeds=2)
    measured = quality(records)
    assert measured.mean == pytest.approx(0.30) and measured.low < 0.30 < measured.high
    assert (measured.seeds, measured.cases) == (2, 2000)
    few = quality(exact("full", np.arange(30) == 0, seeds=1))
    assert few.low >= 0  # whatever the resamples say
    hardly = Estimate(0.01, -0.02, 0.04).clipped()
    assert (hardly.low, hardly.high) == (0.0, 0.04)


def test_verdicts_are_their_words_and_know_what_is_certain():
    assert f"{Verdict.FEW_SEEDS}" == "too few seeds"
    assert {v for v in Verdict if v.certain} == {"better", "comparable", "worse"}


def test_a_reference_differs_from_nothing():
    costs = Costs(1, 1, 1, 1)
    reference = Comparison(FULL, FULL, Estimate(0.3, 0.2, 0.4), None, Verdict.REFERENCE, np.nan, 0.01, costs)
    with pytest.raises(ValueError, match="full is the reference"):
        _ = reference.gap
    assert reference.method == "full" and Variant("full") == reference.variant
