"""Advice from records: what to use given the data, the budget and the number of domains; each line with
its evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from transrec_core.evaluation.statistics import RELATIVE_MARGIN, hits, interval, paired_difference, verdicts
from transrec_core.report.names import NAMES
from transrec_core.report.variants import Groups, said
from transrec_core.study.profile import Cell, Variant
from transrec_core.study.record import Record, ranks_by_seed


def choice(options: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """Which of several ways to take, all tested on the same users.

    The rule: of the best mean and all that are *comparable* to it (margin: 3 % of its HR@10, Holm over the
    options), the one that trains the fewest parameters. What can't be told from the best is named, not
    chosen.

    Returns:
        "use", "best" (methods), "undecided" (methods), "quality" (an interval of what is used), "seeds".
    """
    values = {name: hits(ranks_by_seed(records)) for name, records in options.items()}
    best = max(values, key=lambda name: float(values[name].mean()))
    others = [name for name in options if name != best]
    judged = dict(
        zip(
            others,
            verdicts(
                [paired_difference(values[n], values[best]) for n in others],
                RELATIVE_MARGIN * float(values[best].mean()),
            ),
            strict=True,
        )
    )
    equal = [best, *(n for n in others if judged[n] == "comparable")]
    use = min(equal, key=lambda name: options[name][0].facts["trainable_parameters"])
    undecided = [name for name in others if judged[name] == "undecided"]
    return {
        "use": use,
        "best": best,
        "undecided": undecided,
        "quality": interval(values[use]),
        "seeds": len(options[use]),
    }


def advice(
    given: str, found: Mapping[str, Any], where: str, names: Mapping[str, str] = NAMES
) -> dict[str, str]:
    """A row of the table of advice from :func:`choice`."""
    q = found["quality"]
    rest = [names.get(n, n) for n in found["undecided"] if n != found["use"]]
    return {
        "given": given,
        "use": names.get(found["use"], found["use"]),
        "evidence": f"HR@10 {100 * q.mean:.1f} % [{100 * q.low:.1f}, {100 * q.high:.1f}], runs: {found['seeds']}, {where}",
        "not to be told from the best": ", ".join(rest) or "–",
    }


def by_users(
    found: Groups,
    cell: Cell,
    shares: Mapping[str, float],
    users: int,
    methods: Sequence[str],
    where: str = "embedded",
) -> list[dict[str, str]]:
    """Advice by the number of users in the new domain, from the target shares of RQ4; ``where`` says what
    kind of evidence it is.
    """
    rows = []
    for level, share in [*shares.items(), ("", 1.0)]:
        levels = (("target share", level),) if level else ()
        options = {m: found[Variant(m, levels)] for m in methods if Variant(m, levels) in found}
        if len(options) > 1:
            if Variant("frozen") in found:  # the source model as it is: the same at every share
                options["frozen"] = found[Variant("frozen")]
            rows.append(advice(f"{round(share * users):,} users, {cell.content}", choice(options), where))
    return rows


def within(
    found: Groups, cell: Cell, costs: pd.DataFrame, column: str, limits: Sequence[float], words: str
) -> list[dict[str, str]]:
    """Advice under a limit on what a step costs, as a multiple of full fine-tuning's, from RQ2 and its
    measured costs.

    Args:
        costs: of :func:`transrec_core.training.costs.measure`.
        column: "seconds" or "memory".
        words: what the limit is on.
    """
    cost = costs.set_index("method")[column]
    ratio = cost / cost["full"]
    rows = []
    for limit in limits:
        options = {
            v.method: records
            for v, records in found.items()
            if not v.levels and v.method in ratio.index and ratio[v.method] <= limit
        }
        if options:
            picked = choice(options)
            where = f"embedded; its step takes {ratio[picked['use']]:.2f} of full fine-tuning's {words}, measured on this machine"
            rows.append(
                advice(f"at most {limit:g} of full fine-tuning's {words}, {cell.content}", picked, where)
            )
    return rows


def placement(frame: pd.DataFrame, cell: Cell, seeds: int, where: str = "embedded") -> list[dict[str, str]]:
    """Advice on places and sizes, from :func:`transrec_core.report.tables.variants.factor_summary`: what
    saves, what helps, what to avoid.
    """
    base = frame[frame["verdict"] == "reference"].iloc[0]
    rows = frame[frame["variant"].map(lambda v: bool(v.levels))]
    kinds = {
        "fewer parameters, comparable": rows[
            (rows["verdict"] == "comparable") & (rows["trained"] < base["trained"])
        ],
        "better": rows[rows["verdict"] == "better"],
        "worse": rows[rows["verdict"] == "worse"],
    }
    table = []
    for kind, chosen in kinds.items():
        parts = [
            f"{said(r['variant'])} ({r['difference']:+.1f} [{r['difference low']:+.1f}, {r['difference high']:+.1f}], "
            f"{r['trained'] / base['trained']:.2f})"
            for r in chosen.to_dict("records")
        ]
        found = "; ".join(parts) or "none seen"
        changes = "changes (difference in points [95 %], parameters as a multiple of the base point's)"
        table.append(
            {"content": cell.content, "effect": kind, changes: found, "evidence": f"{seeds} seeds, {where}"}
        )
    return table


def open_questions(frame: pd.DataFrame, cell: Cell, margin: float) -> list[str]:
    """Comparisons that stay undecided, with what could have been detected beside the margin (both in
    points).
    """
    rows = frame[frame["verdict"] == "undecided"]
    return [
        f"{cell.content}, {said(row['variant']) if 'variant' in row else NAMES[row['method']]}: {row['difference']:+.1f} points, "
        f"{row['detectable']:.1f} detectable, {margin:.1f} would matter"
        for row in frame.loc[rows.index].to_dict("records")
    ]


def storage(model_bytes: int, adapter_bytes: int, domains: Sequence[int]) -> pd.DataFrame:
    """What has to be kept for several domains: whole models, or one model and an adapter for each (GiB)."""
    return pd.DataFrame(
        [
            {
                "domains": n,
                "full fine-tuning (GiB)": f"{n * model_bytes / 2**30:.2f}",
                "one backbone and adapters (GiB)": f"{(model_bytes + n * adapter_bytes) / 2**30:.2f}",
                "ratio": f"{n * model_bytes / (model_bytes + n * adapter_bytes):.1f}",
            }
            for n in domains
        ]
    )
