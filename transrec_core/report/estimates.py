"""What reporting speaks in: an estimate, a verdict, costs, and the comparison that holds them.

Numbers are shares here (0.319). They become percent, or points where they are differences, when they are
printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np

from transrec_core.evaluation.statistics import Interval, hits, interval
from transrec_core.study.profile import Variant
from transrec_core.study.record import Record, ranks_by_seed


class Verdict(StrEnum):
    """What a comparison says; see :func:`transrec_core.evaluation.statistics.verdicts` for the first four."""

    BETTER = "better"
    COMPARABLE = "comparable"
    WORSE = "worse"
    UNDECIDED = "undecided"
    REFERENCE = "reference"
    FEW_SEEDS = "too few seeds"

    @property
    def certain(self) -> bool:
        """Whether it says how the two differ."""
        return self in (Verdict.BETTER, Verdict.COMPARABLE, Verdict.WORSE)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and test cases with its 95 % interval.

    Attributes:
        mean: a share of the cases, or a difference of two shares.
        low: lower end of the interval.
        high: upper end.
        seeds: runs that it rests on.
        cases: test cases of each.
    """

    mean: float
    low: float
    high: float
    seeds: int = 1
    cases: int = 0

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """From one value a case.

        Args:
            values: [seeds, cases], or [cases] of a single run.
        """
        values = np.atleast_2d(values)
        return cls.from_interval(interval(values), *values.shape)

    @classmethod
    def from_interval(cls, spread: Interval, seeds: int, cases: int) -> Self:
        """From an interval that was computed before, of so many seeds and cases."""
        return cls(spread.mean, spread.low, spread.high, seeds, cases)

    def clipped(self) -> Estimate:
        """The same with an interval inside 0 to 1: a share can't leave it, whatever few hits make of it."""
        return Estimate(self.mean, max(self.low, 0.0), min(self.high, 1.0), self.seeds, self.cases)

    def percent(self, digits: int = 1, unit: str = "") -> str:
        """As a share of cases: "31.9 [30.8, 33.0]", or with the unit " %" behind the mean."""
        return self._text("", digits, unit)

    def points(self, digits: int = 1, unit: str = "") -> str:
        """As a difference: "+1.2 [+0.4, +2.0]", or with the unit " points" behind the mean."""
        return self._text("+", digits, unit)

    def _text(self, sign: str, digits: int, unit: str) -> str:
        mean, low, high = (f"{100 * value:{sign}.{digits}f}" for value in (self.mean, self.low, self.high))
        return f"{mean}{unit} [{low}, {high}]"

    def __contains__(self, share: float) -> bool:
        """Whether a share lies in the interval."""
        return self.low <= share <= self.high

    def __neg__(self) -> Estimate:
        return Estimate(-self.mean, -self.high, -self.low, self.seeds, self.cases)


def quality(records: Sequence[Record], k: int = 10) -> Estimate:
    """HR@k over the runs of one thing, which differ in their seed only."""
    return Estimate.of(hits(ranks_by_seed(records), k)).clipped()


@dataclass(frozen=True)
class Costs:
    """What runs took, means over the seeds; NaN where it is not recorded (a control that trains nothing).

    Attributes:
        trained: trained parameters.
        total: all parameters.
        seconds: of training, validations included.
        memory: MiB, peak of the process.
    """

    trained: float
    total: float
    seconds: float
    memory: float

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """From the facts of the runs of one thing."""
        keys = ("trainable_parameters", "total_parameters", "train_seconds", "peak_memory_mb")
        return cls(*(_mean([r.facts[key] for r in records if key in r.facts]) for key in keys))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True)
class Comparison:
    """One thing beside what it is compared with, on the same test cases with the same seeds.

    Attributes:
        variant: a method, with what is changed of it.
        reference: what it is compared with; of the reference itself the same as ``variant``.
        quality: HR@k.
        difference: HR@k minus the reference's, paired; None of the reference itself.
        verdict: what the difference says.
        detectable: the true difference that would be found with 80 % probability; NaN of the reference.
        margin: the difference up to which two things are comparable.
        costs: parameters, time and memory.
    """

    variant: Variant
    reference: Variant
    quality: Estimate
    difference: Estimate | None
    verdict: Verdict
    detectable: float
    margin: float
    costs: Costs

    @property
    def method(self) -> str:
        """Key of the method or control."""
        return self.variant.method

    @property
    def gap(self) -> Estimate:
        """The difference.

        Raises:
            ValueError: if this is the reference, which differs from nothing.
        """
        if self.difference is None:
            raise ValueError(f"{self.variant.label()} is the reference of its comparison")
        return self.difference
