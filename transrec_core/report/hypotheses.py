"""The hypotheses that were written down before the first run on real data, each with what became of it; and
what is to be noticed about a cell before its methods are ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from transrec_core.evaluation.statistics import hits, paired_difference
from transrec_core.report.cold import compare_cold
from transrec_core.report.comparisons import Runs, by_name, compare_methods
from transrec_core.report.estimates import Estimate, Verdict
from transrec_core.study.profile import Variant
from transrec_core.study.record import Record, ranks_by_seed
from transrec_core.study.specs import TRAINED

#: Hypotheses of book/protocol_real.md on a method's verdict against full fine-tuning.
PREDICTED: Mapping[str, tuple[str, Verdict]] = {
    "H1: Houlsby is comparable": ("houlsby", Verdict.COMPARABLE),
    "H2: no source is worse": ("scratch", Verdict.WORSE),
    "H3: head only is worse": ("head", Verdict.WORSE),
}
COLD = "H4: on cold targets, full fine-tuning is better than item IDs"

Outcome = Literal["holds", "does not hold", "open", "not run"]


@dataclass(frozen=True)
class Hypothesis:
    """A hypothesis on a cell.

    Attributes:
        outcome: "does not hold" if another verdict than the predicted one is certain.
        verdict: that was found; None if there is none.
        difference: on which it rests; None if there is none.
        reason: why there is none.
    """

    outcome: Outcome
    verdict: Verdict | None = None
    difference: Estimate | None = None
    reason: str = ""


def judge(runs: Runs) -> dict[str, Hypothesis]:
    """What became of each hypothesis in a cell of RQ1."""
    compared = by_name(compare_methods(runs))
    judged = {}
    for name, (method, predicted) in PREDICTED.items():
        judged[name] = Hypothesis("not run")
        if method in compared:
            c = compared[method]
            judged[name] = Hypothesis(_outcome(c.verdict, predicted), c.verdict, c.gap)
    cold = compare_cold(runs)
    judged[COLD] = Hypothesis("not run")
    if cold is not None:
        outcome = _outcome(cold.verdict, Verdict.BETTER)
        judged[COLD] = Hypothesis(outcome, cold.verdict, cold.difference, cold.reason)
    return judged


def _outcome(verdict: Verdict | None, predicted: Verdict) -> Outcome:
    if verdict is None or not verdict.certain:
        return "open"
    return "holds" if verdict == predicted else "does not hold"


@dataclass(frozen=True)
class Notes:
    """Methods and controls of a cell by what is to be noticed about them, in the order they were run.

    Attributes:
        above: trained ones that are certainly better than popularity (95 % interval of the difference).
        below: those with no higher mean than popularity.
        late: trained ones with a best state that is the last one, in at least one seed.
        flat: trained ones with a best state that is the first one, in at least one seed.
    """

    above: tuple[str, ...]
    below: tuple[str, ...]
    late: tuple[str, ...]
    flat: tuple[str, ...]


def notes(runs: Runs) -> Notes:
    """What is to be noticed about the methods of a cell."""
    plain = {v.method: records for v, records in runs.items() if not v.levels}
    trained = {m: records for m, records in plain.items() if records[0].spec.strategy in TRAINED}
    mean = {m: float(np.mean([r.metrics["HR@10"] for r in records])) for m, records in plain.items()}
    above: tuple[str, ...] = ()
    if base := runs.get(Variant("popularity")):
        popular = hits(ranks_by_seed(base))
        above = tuple(
            m for m, r in trained.items() if paired_difference(hits(ranks_by_seed(r)), popular).low > 0
        )
    return Notes(
        above,
        tuple(m for m in plain if m != "popularity" and mean[m] <= mean.get("popularity", -1.0)),
        tuple(m for m, r in trained.items() if any(_best(x) == x.spec.training.steps for x in r)),
        tuple(m for m, r in trained.items() if any(_best(x) == 0 for x in r)),
    )


def _best(record: Record) -> int:
    return int(record.facts["best_step"])
