"""Things that were run on the same test cases, compared: with a reference, with the best of them, and by what
they cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError
from transrec_core.evaluation.statistics import (
    ALPHA,
    RELATIVE_MARGIN,
    hits,
    paired_difference,
    verdict,
    verdicts,
)
from transrec_core.report.estimates import Comparison, Costs, Estimate, Verdict, quality
from transrec_core.report.names import in_order
from transrec_core.study.profile import Variant
from transrec_core.study.record import Record, ranks_by_seed
from transrec_core.study.specs import TRAINED

#: Runs of one cell by variant, each with the records of its seeds.
Runs = Mapping[Variant, Sequence[Record]]

FULL = Variant("full")
#: What adapts a source model by training, and can be told apart by what it trains.
ADAPTATIONS = (FULL, *map(Variant, METHODS), Variant("head"))
#: Seeds that a verdict on what trains needs (see book/protocol_real.md).
ENOUGH_SEEDS = 3


def by_method(records: Iterable[Record]) -> Runs:
    """Records of one cell by method, in the order of tables."""
    grouped: dict[str, list[Record]] = {}
    for record in records:
        grouped.setdefault(record.spec.method, []).append(record)
    return {Variant(method): grouped[method] for method in in_order(grouped)}


def methods_of(runs: Runs) -> Runs:
    """The methods and controls of a cell, nothing changed of them, in the order of tables."""
    plain = {v.method: v for v in runs if not v.levels}
    return {plain[method]: runs[plain[method]] for method in in_order(plain)}


def compare(
    runs: Runs,
    reference: Variant = FULL,
    variants: Iterable[Variant] | None = None,
    k: int = 10,
    seeds: int = 1,
) -> list[Comparison]:
    """Variants of a cell against one of them.

    All that trains is one family of tests; a verdict on a control without training stands alone. The margin
    is a share of full fine-tuning's HR@k, or of the reference's where that was not run.

    Args:
        runs: of the cell; the reference must be among them.
        reference: what the others are compared with.
        variants: what is compared, in this order, as far as it was run; None means all.
        k: cut-off of HR@k.
        seeds: what a verdict on something that trains needs, on both sides.

    Returns:
        One comparison a variant; the reference's own among them, at the front if ``variants`` are given.

    Raises:
        UserError: if two things that train have no seed in common.
    """
    chosen = (
        list(runs) if variants is None else [v for v in dict.fromkeys((reference, *variants)) if v in runs]
    )
    yardstick = reference if reference.method == FULL.method or FULL not in runs else FULL
    margin = RELATIVE_MARGIN * float(hits(ranks_by_seed(runs[yardstick]), k).mean())
    pairs = {v: _paired(runs, v, reference, k) for v in chosen if v != reference}
    spreads = {v: paired_difference(*pair) for v, pair in pairs.items()}
    family = [v for v in spreads if _trains(runs[v])]
    words = dict(zip(family, verdicts([spreads[v] for v in family], margin), strict=True))
    compared = []
    for v in chosen:
        difference, word, detectable = None, Verdict.REFERENCE, float("nan")
        if v != reference:
            first, second = pairs[v]
            difference = Estimate.from_interval(spreads[v], *first.shape)
            word = Verdict(words[v] if v in words else verdict(spreads[v], margin))
            detectable = spreads[v].detectable(len(family) if v in words else 1)
            if len(second) < seeds or (len(first) < seeds and v in words):
                word = Verdict.FEW_SEEDS
        reached, costs = quality(runs[v], k), Costs.of(runs[v])
        compared.append(Comparison(v, reference, reached, difference, word, detectable, margin, costs))
    return compared


def _paired(runs: Runs, first: Variant, second: Variant, k: int) -> tuple[np.ndarray, np.ndarray]:
    # Hits [seeds, cases] of both; of two that train, those of the seeds that both have.
    a, b = runs[first], runs[second]
    if len(a) != len(b) and _trains(a) and _trains(b):
        seeds = {r.spec.seed for r in a} & {r.spec.seed for r in b}
        if not seeds:
            raise UserError(f"{first.label()} and {second.label()} have no seed in common; run one of both")
        a, b = ([r for r in records if r.spec.seed in seeds] for records in (a, b))
    return hits(ranks_by_seed(a), k), hits(ranks_by_seed(b), k)


def compare_methods(runs: Runs, k: int = 10, seeds: int = ENOUGH_SEEDS) -> list[Comparison]:
    """The methods and controls of a cell against full fine-tuning, see :func:`compare`."""
    return compare(methods_of(runs), FULL, k=k, seeds=seeds)


def adaptations(compared: Iterable[Comparison]) -> list[Comparison]:
    """Full fine-tuning, the adapters and the head alone, out of some comparisons."""
    return [c for c in compared if c.variant in ADAPTATIONS]


def by_name(compared: Iterable[Comparison]) -> dict[str, Comparison]:
    """Comparisons of methods by their keys."""
    return {c.method: c for c in compared if not c.variant.levels}


def _trains(records: Sequence[Record]) -> bool:
    return records[0].spec.strategy in TRAINED


@dataclass(frozen=True)
class Contender:
    """An adapter beside the best one.

    Attributes:
        method: its key.
        difference: to the best one's HR@k, with an interval that holds for all contenders at once.
        in_group: whether it can't be told from the best.
    """

    method: str
    difference: Estimate
    in_group: bool


def best_group(runs: Runs, k: int = 10) -> list[Contender]:
    """The adapter with the highest mean HR@k, and for each other one whether it can be told from it.

    Intervals are simultaneous: percentiles of the draws at 5 % shared out over the other adapters
    (Bonferroni).

    Returns:
        All adapters of the cell, best first.
    """
    values = {v.method: hits(ranks_by_seed(r), k) for v, r in methods_of(runs).items() if v.method in METHODS}
    order = sorted(values, key=lambda m: -float(values[m].mean()))
    tail = 100 * ALPHA / (2 * max(1, len(order) - 1))
    contenders = []
    for method in order:
        if method == order[0]:
            contenders.append(Contender(method, Estimate(0.0, 0.0, 0.0, *values[method].shape), True))
            continue
        spread = paired_difference(values[method], values[order[0]])
        low, high = np.percentile(spread.draws, [tail, 100 - tail])
        difference = Estimate(spread.mean, float(low), float(high), *values[method].shape)
        contenders.append(Contender(method, difference, bool(high >= 0)))
    return contenders


def pareto(compared: Iterable[Comparison]) -> list[Comparison]:
    """What trains something and has no other with at most its parameters and a higher mean, cheapest
    first.
    """
    front: list[Comparison] = []
    training = [c for c in compared if c.costs.trained > 0]
    for candidate in sorted(training, key=lambda c: (c.costs.trained, -c.quality.mean)):
        if not front or candidate.quality.mean > front[-1].quality.mean:
            front.append(candidate)
    return front
