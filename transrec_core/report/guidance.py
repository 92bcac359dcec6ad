"""Advice from records: what to use given the data and the budget, each with its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from transrec_core.adapters.registry import METHODS
from transrec_core.evaluation.statistics import RELATIVE_MARGIN, hits, paired_difference, verdicts
from transrec_core.report.comparisons import ENOUGH_SEEDS, FULL, Runs
from transrec_core.report.curves import Axis
from transrec_core.report.estimates import Comparison, Estimate, Verdict, quality
from transrec_core.report.evidence import Evidence
from transrec_core.report.variants import test_users
from transrec_core.study.profile import Cell, Variant
from transrec_core.study.record import Record, ranks_by_seed

FROZEN = Variant("frozen")


@dataclass(frozen=True)
class Choice:
    """Which of several ways to take.

    Attributes:
        use: the way.
        best: the one with the best mean.
        undecided: those that can't be told from the best.
        quality: HR@10 of what is used.
    """

    use: str
    best: str
    undecided: tuple[str, ...]
    quality: Estimate


def choice(options: Mapping[str, Sequence[Record]]) -> Choice:
    """Which of several ways to take, all tested on the same users.

    The rule: of the best mean and all that are *comparable* to it (margin: 3 % of its HR@10, Holm over the
    options), the one that trains the fewest parameters; of several such, the best itself, then the first.
    What can't be told from the best is named, not chosen.

    Args:
        options: runs of each way by its name.
    """
    values = {name: hits(ranks_by_seed(records)) for name, records in options.items()}
    best = max(values, key=lambda name: float(values[name].mean()))
    others = [name for name in options if name != best]
    differences = [paired_difference(values[name], values[best]) for name in others]
    words = verdicts(differences, RELATIVE_MARGIN * float(values[best].mean()))
    judged = dict(zip(others, map(Verdict, words), strict=True))
    equal = [best, *(name for name in others if judged[name] == Verdict.COMPARABLE)]
    use = min(equal, key=lambda name: _trained(options[name]))
    undecided = tuple(name for name in others if judged[name] == Verdict.UNDECIDED)
    return Choice(use, best, undecided, quality(options[use]))


def _trained(records: Sequence[Record]) -> int:
    return int(records[0].facts.get("trainable_parameters", 0))  # controls train nothing, and need not say so


@dataclass(frozen=True)
class Advice:
    """What to use in a situation.

    Attributes:
        given: the situation.
        choice: what the rule says there.
        where: what kind of evidence it rests on.
    """

    given: str
    choice: Choice
    where: str


def by_users(
    runs: Runs, cell: Cell, axis: Axis, users: int, methods: Iterable[str], where: str = "embedded"
) -> list[Advice]:
    """Advice by the number of users in the new domain.

    Args:
        runs: of a cell of RQ4.
        cell: the cell.
        axis: the shares of the target's training users.
        users: how many 100 % are.
        methods: what to choose from; the source model as it is comes with it wherever it was run.
        where: what kind of evidence it is.

    Returns:
        One advice for each share at which there is a choice.
    """
    methods = tuple(methods)
    advice = []
    for share, levels in axis.levels().items():
        options = {m: runs[Variant(m, levels)] for m in methods if Variant(m, levels) in runs}
        if len(options) > 1:
            if FROZEN in runs:  # the same at every share
                options[FROZEN.method] = runs[FROZEN]
            given = f"{round(share * users):,} users, {cell.content}"
            advice.append(Advice(given, choice(options), where))
    return advice


def within(
    runs: Runs, cell: Cell, costs: Mapping[str, float], limits: Sequence[float], words: str
) -> list[Advice]:
    """Advice under a limit on what a step costs.

    Args:
        runs: of a cell of RQ2.
        cell: the cell.
        costs: of a step, by method.
        limits: as multiples of full fine-tuning's cost.
        words: what the limit is on.

    Returns:
        One advice for each limit that something keeps.
    """
    ratio = {method: cost / costs[FULL.method] for method, cost in costs.items()}
    advice = []
    for limit in limits:
        options = {
            v.method: records
            for v, records in runs.items()
            if not v.levels and v.method in ratio and ratio[v.method] <= limit
        }
        if options:
            chosen = choice(options)
            where = (
                f"embedded; its step takes {ratio[chosen.use]:.2f} of full fine-tuning's {words}, "
                "measured on this machine"
            )
            given = f"at most {limit:g} of full fine-tuning's {words}, {cell.content}"
            advice.append(Advice(given, chosen, where))
    return advice


def from_real_data(evidence: Evidence, axis: Axis) -> list[Advice]:
    """Advice by the number of users from what is recorded of real data, where enough seeds are complete;
    a situation that two questions ask about is answered by the first.

    Args:
        evidence: of the profile of real data.
        axis: the shares of the target's training users.
    """
    advice: dict[str, Advice] = {}
    for kind in ("rq2", "rq1", "rq4-target"):
        for cell, runs in evidence.cells(kind):
            if len(runs[FULL]) >= ENOUGH_SEEDS:
                methods = [
                    v.method
                    for v in runs
                    if not v.levels and v.method in (FULL.method, "head", "scratch", *METHODS)
                ]
                for entry in by_users(runs, cell, axis, test_users(runs), methods, "real"):
                    advice.setdefault(entry.given, entry)
    return list(advice.values())


@dataclass(frozen=True)
class Effects:
    """The changes of a base point by what they bring.

    Attributes:
        cheaper: comparable to it with fewer trained parameters.
        better: better than it.
        worse: worse than it.
        base: the base point itself.
    """

    cheaper: tuple[Comparison, ...]
    better: tuple[Comparison, ...]
    worse: tuple[Comparison, ...]
    base: Comparison


def effects(compared: Iterable[Comparison]) -> Effects:
    """Sorts comparisons with a base point by what the changes bring."""
    compared = list(compared)
    base = next(c for c in compared if c.verdict == Verdict.REFERENCE)
    changes = [c for c in compared if c.variant.levels]
    return Effects(
        tuple(c for c in changes if c.verdict == Verdict.COMPARABLE and c.costs.trained < base.costs.trained),
        tuple(c for c in changes if c.verdict == Verdict.BETTER),
        tuple(c for c in changes if c.verdict == Verdict.WORSE),
        base,
    )
