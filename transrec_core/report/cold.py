"""Cold targets: test items that occur in nobody's training part, so that only their content can tell
anything.

A record keeps one bit for each test case (is its target cold?), and nothing else of the users' data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from transrec_core.evaluation.cold import unpacked_bits
from transrec_core.evaluation.statistics import Interval, hits, interval, paired_difference
from transrec_core.study.record import Record, ranks_by_seed


def cold_cases(record: Record) -> np.ndarray | None:
    """The cold test cases of a record, bool [cases]; None if it does not say (the embedded world, and
    older records).
    """
    return unpacked_bits(record.facts["cold"], record.facts["cases"]) if "cold" in record.facts else None


def cold_difference(a: Sequence[Record], b: Sequence[Record], k: int = 10) -> Interval | None:
    """Difference of two things in HR@k on cold targets alone, paired; None if there are none, or the
    records don't say.
    """
    cold = cold_cases(a[0])
    if cold is None or not cold.any():
        return None
    first, second = (hits(ranks_by_seed(records), k)[:, cold] for records in (a, b))
    return paired_difference(first, second)


def split_frame(found: Mapping[str, Sequence[Record]], k: int = 10) -> pd.DataFrame:
    """HR@k on all, warm and cold targets, for things by name, each with the records of its seeds.

    Which targets are cold depends on who trained; a thing whose seeds trained on different users is left out.

    Returns:
        One row a thing and part: "name", "targets" ("all", "warm", "cold"), "cases", "seeds", "quality",
        "low", "high" in percent.
    """
    rows = []
    for name, records in found.items():
        if "cold" not in records[0].facts or len({r.facts["cold"] for r in records}) > 1:
            continue
        cold = unpacked_bits(records[0].facts["cold"], records[0].facts["cases"])
        values = hits(ranks_by_seed(records), k)
        for part, chosen in (("all", np.ones_like(cold)), ("warm", ~cold), ("cold", cold)):
            if chosen.any():
                q = interval(values[:, chosen])
                figures = {
                    "quality": 100 * q.mean,
                    "low": 100 * max(q.low, 0.0),
                    "high": 100 * min(q.high, 1.0),
                }  # few cases
                rows.append(
                    {
                        "name": name,
                        "targets": part,
                        "cases": int(chosen.sum()),
                        "seeds": len(records),
                        **figures,
                    }
                )
    return pd.DataFrame(rows, columns=["name", "targets", "cases", "seeds", "quality", "low", "high"])
