"""Factors that were varied together: what is reached by all of them, and whether one depends on another."""

from __future__ import annotations

from dataclasses import dataclass

from transrec_core.evaluation.statistics import hits, paired_difference, verdicts
from transrec_core.report.comparisons import Runs
from transrec_core.report.estimates import Estimate, Verdict, quality
from transrec_core.report.names import word
from transrec_core.report.variants import BASE_LEVELS, BASE_POINT
from transrec_core.study.profile import Variant
from transrec_core.study.record import ranks_by_seed

#: The factors that RQ3 varies together.
CROSSED = ("position", "form", "size")


@dataclass(frozen=True)
class CrossedPoint:
    """What is reached at a position, a form, and a size of the item encoder's adapters."""

    position: str
    form: str
    size: int
    quality: Estimate


def crossed_runs(runs: Runs) -> Runs:
    """The runs of a cell that vary nothing of the base point but what is crossed."""
    return {
        variant: records
        for variant, records in runs.items()
        if variant.method == BASE_POINT.method and {factor for factor, _ in variant.levels} <= set(CROSSED)
    }


def crossed_points(runs: Runs) -> list[CrossedPoint]:
    """Quality of crossed runs by position, form and size, in that order."""
    points = []
    for variant, records in runs.items():
        levels = BASE_LEVELS | dict(variant.levels)
        position = "behind both" if levels["position"] == "both" else word(levels["position"])
        size = int(levels["size"].split("/")[0])
        points.append(CrossedPoint(position, levels["form"], size, quality(records)))
    return sorted(points, key=lambda p: (p.position, p.form, p.size))


@dataclass(frozen=True)
class Gain:
    """What a parallel adapter gains over a serial one at a position or size.

    Attributes:
        place: where, in words; "base point" if nothing else is changed.
        gain: in HR@10.
        extra: the gain minus the base point's; None of the base point itself, or without it.
        verdict: on ``extra``, without a margin; all places of a cell are one family.
    """

    place: str
    gain: Estimate
    extra: Estimate | None = None
    verdict: Verdict | None = None


def parallel_gains(runs: Runs) -> list[Gain]:
    """What parallel adapters gain over serial ones in a cell, wherever both were run."""
    places: list[tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]] = [
        ("base point", (), ()),
        *((_place("position", p), (("position", p),), ()) for p in ("attention", "ffn")),
        *((_place("size", s), (), (("size", s),)) for s in ("1/1", "4/2", "64/32")),
    ]
    values = {}
    for place, before, after in places:
        serial = runs.get(Variant(BASE_POINT.method, (*before, *after)))
        parallel = runs.get(Variant(BASE_POINT.method, (*before, ("form", "parallel"), *after)))
        if serial is not None and parallel is not None:
            values[place] = hits(ranks_by_seed(parallel)) - hits(ranks_by_seed(serial))
    extra = {
        place: paired_difference(gain, values["base point"])
        for place, gain in values.items()
        if place != "base point" and "base point" in values
    }
    words = dict(zip(extra, map(Verdict, verdicts(list(extra.values()), 0.0)), strict=True))
    return [
        Gain(
            place,
            Estimate.of(gain),
            Estimate.from_interval(extra[place], *gain.shape) if place in extra else None,
            words.get(place),
        )
        for place, gain in values.items()
    ]


def _place(factor: str, level: str) -> str:
    return f"{word(factor)}: {word(level)}"
