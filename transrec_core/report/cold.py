"""Cold targets: test items that occur in nobody's training part, so that only their content can tell
anything.

A record keeps one bit for each test case (is its target cold?), and nothing else of the users' data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from transrec_core.evaluation.cold import unpacked_bits
from transrec_core.evaluation.statistics import hits, paired_difference, verdict
from transrec_core.report.comparisons import ENOUGH_SEEDS, FULL, Runs
from transrec_core.report.estimates import Estimate, Verdict
from transrec_core.study.profile import Variant
from transrec_core.study.record import Record, ranks_by_seed

#: The parts of the test targets, in the order of tables.
PARTS = ("all", "warm", "cold")


def cold_cases(record: Record) -> np.ndarray | None:
    """The cold test cases of a record, bool [cases]; None if it does not say (the embedded world, and
    older records).
    """
    return unpacked_bits(record.facts["cold"], record.facts["cases"]) if "cold" in record.facts else None


def by_targets(runs: Mapping[str, Sequence[Record]], k: int = 10) -> dict[str, dict[str, Estimate]]:
    """HR@k on all, warm and cold targets.

    Which targets are cold depends on who trained; a thing whose seeds trained on different users is left out.

    Args:
        runs: by name, the records of the seeds.
        k: cut-off of HR@k.

    Returns:
        By name and part (see :data:`PARTS`); a part without cases is left out.
    """
    masks = {}
    for name, records in runs.items():
        cold = cold_cases(records[0])
        if cold is not None and len({r.facts["cold"] for r in records}) == 1:
            masks[name] = dict(zip(PARTS, (np.ones_like(cold), ~cold, cold), strict=True))
    split: dict[str, dict[str, Estimate]] = {name: {} for name in masks}
    for part in PARTS:  # one after the other: resamples are kept by the number of cases
        for name, mask in masks.items():
            if mask[part].any():
                values = hits(ranks_by_seed(runs[name]), k)[:, mask[part]]
                split[name][part] = Estimate.of(values).clipped()
    return split


@dataclass(frozen=True)
class ColdComparison:
    """Hypothesis H4 on a cell: full fine-tuning against item-ID SASRec on cold targets alone.

    Attributes:
        difference: full fine-tuning minus item-ID SASRec; None if there is nothing to compare.
        verdict: on it, without a margin; None as well.
        reason: why there is none.
    """

    difference: Estimate | None
    verdict: Verdict | None
    reason: str = ""


def compare_cold(runs: Runs, k: int = 10) -> ColdComparison | None:
    """Hypothesis H4 on the runs of a cell; None if one of the two is not recorded."""
    full, ids = runs.get(FULL, ()), runs.get(Variant("item_id"), ())
    if not full or len(full) != len(ids):
        return None
    cold = cold_cases(full[0])
    if cold is None or not cold.any():
        return ColdComparison(None, None, "no cold targets, or the records do not say which they are")
    first, second = (hits(ranks_by_seed(records), k)[:, cold] for records in (full, ids))
    if not first.any() and not second.any():  # an interval of zeros would look like certainty
        reason = (
            "no verdict, since neither full fine-tuning nor item-ID SASRec hits one of the "
            f"{int(cold.sum())} cold targets"
        )
        return ColdComparison(None, None, reason)
    spread = paired_difference(first, second)
    few = len(full) < ENOUGH_SEEDS
    word = Verdict.FEW_SEEDS if few else Verdict(verdict(spread, 0.0))
    return ColdComparison(Estimate.from_interval(spread, *first.shape), word)


def median_cold_rank(records: Sequence[Record]) -> float | None:
    """The median rank of the cold targets among all items that are not in the user's history, mean over the
    seeds; None where it is not recorded.
    """
    medians = [r.facts["cold_median_rank"] for r in records if "cold_median_rank" in r.facts]
    return float(np.mean(medians)) if medians else None
