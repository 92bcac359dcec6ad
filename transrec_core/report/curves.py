"""Quality along an axis: a share of the users, or the size of an adapter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from transrec_core.evaluation.statistics import (
    RELATIVE_MARGIN,
    Crossing,
    Interval,
    crossing,
    hits,
    paired_difference,
    verdicts,
)
from transrec_core.report.comparisons import FULL, Runs
from transrec_core.report.estimates import Estimate, Verdict, quality
from transrec_core.report.names import method_name
from transrec_core.study.profile import Variant
from transrec_core.study.record import ranks_by_seed


@dataclass(frozen=True)
class Axis:
    """A factor whose levels are numbers.

    Attributes:
        factor: its name.
        places: the number that each level stands for.
        last: the number of the level that a cell has anyway; None if it is not on the axis.
    """

    factor: str
    places: Mapping[str, float] = field(hash=False)
    last: float | None = None

    @classmethod
    def of_shares(cls, factor: str, levels: Iterable[str], last: float | None = None) -> Axis:
        """An axis of shares, from levels like "25 %"."""
        return cls(factor, {level: float(level.rstrip(" %")) / 100 for level in levels}, last)

    def levels(self) -> dict[float, tuple[tuple[str, str], ...]]:
        """What a variant changes at each place, places rising."""
        changes = {place: ((self.factor, level),) for level, place in self.places.items()}
        return dict(sorted((changes | ({} if self.last is None else {self.last: ()})).items()))


def share_axis(runs: Runs, factor: str, last: float | None = None) -> Axis:
    """The axis of the levels that a cell's runs have of a factor of shares."""
    return Axis.of_shares(factor, {v.levels[0][1] for v in runs if _varies(v, factor)}, last)


def _varies(variant: Variant, factor: str) -> bool:
    return bool(variant.levels) and variant.levels[0][0] == factor


@dataclass(frozen=True)
class Point:
    """What a method reaches at a place of an axis."""

    method: str
    place: float
    quality: Estimate


def curve(runs: Runs, axis: Axis) -> list[Point]:
    """Quality along an axis, for each method that is varied there; by method, places rising."""
    varied = {v.method for v in runs if _varies(v, axis.factor)}
    points = []
    for variant, records in runs.items():
        if variant.levels:
            place = axis.places.get(variant.levels[0][1]) if _varies(variant, axis.factor) else None
        else:
            place = axis.last
        if place is not None and variant.method in varied:
            points.append(Point(variant.method, place, quality(records)))
    return sorted(points, key=lambda p: (p.method, p.place))


def control_levels(runs: Runs, methods: Sequence[str]) -> dict[str, float]:
    """HR@10 of methods that are on no axis, by name, to be drawn across; nothing unless all of them were
    run.
    """
    records = {method: runs.get(Variant(method), ()) for method in methods}
    if not all(records.values()):
        return {}
    return {method_name(m): float(np.mean([x.metrics["HR@10"] for x in r])) for m, r in records.items()}


@dataclass(frozen=True)
class PairPoint:
    """The difference of two methods at a place of an axis.

    Attributes:
        place: on the axis.
        difference: in HR@10, paired.
        full: full fine-tuning's HR@10 there, of which the margin is a share.
        verdict: on the difference; the places of a pair are a family of tests.
    """

    place: float
    difference: Estimate
    full: float
    verdict: Verdict


@dataclass(frozen=True)
class PairCurve:
    """The difference of two methods along an axis, and where it changes its sign."""

    name: str
    points: tuple[PairPoint, ...]
    crossing: Crossing


def differences_along(runs: Runs, axis: Axis, first: str, second: str) -> dict[float, Interval]:
    """The paired difference of two methods at each place of an axis, for
    :func:`transrec_core.evaluation.statistics.crossing`.
    """
    places: dict[float, Interval] = {}
    for number, (place, levels) in enumerate(axis.levels().items()):
        a, b = runs.get(Variant(first, levels)), runs.get(Variant(second, levels))
        if a is not None and b is not None:
            values = hits(ranks_by_seed(a)), hits(ranks_by_seed(b))
            places[place] = paired_difference(*values, stream=number)
    return places


def pair_curves(runs: Runs, axis: Axis, pairs: Mapping[str, tuple[str, str]]) -> list[PairCurve]:
    """Paired differences of methods along an axis, at the places where full fine-tuning was run as well.

    Args:
        runs: of a cell.
        axis: along which.
        pairs: by name, the two methods.

    Returns:
        One curve a pair; a pair that was nowhere run is left out.
    """
    levels = axis.levels()
    curves = []
    for name, (first, second) in pairs.items():
        spreads = {
            place: spread
            for place, spread in differences_along(runs, axis, first, second).items()
            if Variant(FULL.method, levels[place]) in runs
        }
        if not spreads:
            continue
        full = [
            float(hits(ranks_by_seed(runs[Variant(FULL.method, levels[place])])).mean()) for place in spreads
        ]
        words = verdicts(list(spreads.values()), [RELATIVE_MARGIN * share for share in full])
        points = []
        for (place, spread), share, verdict in zip(spreads.items(), full, words, strict=True):
            records = runs[Variant(first, levels[place])]
            difference = Estimate.from_interval(spread, len(records), len(records[0].ranks))
            points.append(PairPoint(place, difference, share, Verdict(verdict)))
        curves.append(PairCurve(name, tuple(points), crossing(list(spreads), list(spreads.values()))))
    return curves


def source_steps(runs: Runs, axis: Axis, path: Path) -> dict[float, str]:
    """How many steps the source models of an axis took.

    Args:
        runs: of a cell.
        axis: shares of the source.
        path: what ``transrec pack`` wrote of the source models; none are told without it.

    Returns:
        By place "mean [least, most]".
    """
    facts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    steps = {}
    for level, place in axis.places.items():
        ids = {r.spec.source_id() for r in runs.get(Variant(FULL.method, ((axis.factor, level),)), [])}
        taken = [facts[name]["steps"] for name in ids if name in facts]
        if taken:
            steps[place] = f"{np.mean(taken):,.0f} [{min(taken):,}, {max(taken):,}]"
    return steps
