"""Tables and sentences from records; nothing here computes a result of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from transrec_core.adapters.registry import METHODS
from transrec_core.evaluation.statistics import (
    ALPHA,
    RELATIVE_MARGIN,
    hits,
    interval,
    paired_difference,
    verdicts,
)
from transrec_core.report.names import NAMES
from transrec_core.study.profile import Cell
from transrec_core.study.record import Record, ranks_by_seed
from transrec_core.study.specs import TRAINED
from transrec_core.study.step_sizes import step_sizes


def records_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row a record: what it was, what it reached, what it cost."""
    rows = [
        {
            "id": r.id,
            "target": r.spec.target.folder,
            "modality": r.spec.target.modality,
            "titles": r.spec.target.titles,
            "objective": r.spec.model.objective,
            "method": r.spec.method,
            "seed": r.spec.seed,
            "HR@10 (%)": round(100 * r.metrics["HR@10"], 2),
            "NDCG@10 (%)": round(100 * r.metrics["NDCG@10"], 2),
            "trained": r.facts.get("trainable_parameters", 0),
            "seconds": round(r.facts.get("train_seconds", 0.0), 1),
            "best step": r.facts.get("best_step"),
        }
        for r in records
    ]
    return pd.DataFrame(rows)


def by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records of one comparison by method, in the order of :data:`NAMES`, unknown methods last."""
    order = list(NAMES)
    methods = sorted(
        {r.spec.method for r in records}, key=lambda m: (order.index(m) if m in order else len(order), m)
    )
    return {m: [r for r in records if r.spec.method == m] for m in methods}


def summary(records: Sequence[Record], k: int = 10, reference: str = "full") -> pd.DataFrame:
    """One comparison (same data, objective and users) as a table: quality with interval, difference to the
    reference, verdict, costs.

    Args:
        records: runs of several methods and seeds.
        k: cut-off of HR@K.
        reference: the method that others are compared with.

    Returns:
        One row a method; quality in percent, differences in points, parameters as counts, times in seconds,
        memory in MiB.
    """
    return compared(by_method(records), reference, k)


def compared(
    groups: Mapping[str, Sequence[Record]],
    reference: str,
    k: int = 10,
    margin_of: Sequence[Record] | None = None,
) -> pd.DataFrame:
    """Groups of runs (each one thing with several seeds) against one of them, see :func:`summary`.

    All groups that train and are not the reference are one family of tests; a verdict on a control without
    training stands alone.

    Args:
        margin_of: runs whose HR@k the margin is a share of; None means the reference.
    """
    values = {name: hits(ranks_by_seed(group), k) for name, group in groups.items()}
    margin = RELATIVE_MARGIN * float(hits(ranks_by_seed(margin_of or groups[reference]), k).mean())
    differences = {
        name: paired_difference(values[name], values[reference]) for name in groups if name != reference
    }
    family = [name for name in differences if groups[name][0].spec.strategy in TRAINED]
    judged = dict(zip(family, verdicts([differences[name] for name in family], margin), strict=True))
    judged |= {name: verdicts([d], margin)[0] for name, d in differences.items() if name not in judged}
    rows = []
    for name, group in groups.items():
        quality = interval(values[name])
        row = {
            "method": name,
            "seeds": len(group),
            "quality": 100 * quality.mean,
            "low": 100 * max(quality.low, 0.0),
            "high": 100 * min(quality.high, 1.0),  # a share, whatever few hits make of its interval
            "difference": np.nan,
            "difference low": np.nan,
            "difference high": np.nan,
            "detectable": np.nan,
            "verdict": "reference",
            "trained": _mean(group, "trainable_parameters"),
            "total": _mean(group, "total_parameters"),
            "seconds": _mean(group, "train_seconds"),
            "memory": _mean(group, "peak_memory_mb"),
        }
        if name != reference:
            d = differences[name]
            row |= {
                "difference": 100 * d.mean,
                "difference low": 100 * d.low,
                "difference high": 100 * d.high,
                "detectable": 100 * d.detectable(len(family) if name in family else 1),
                "verdict": judged[name],
            }
        rows.append(row)
    return pd.DataFrame(rows)


def step_size_table(cells: Iterable[Cell]) -> pd.DataFrame:
    """What was chosen from which step sizes: validation NDCG@10 (%) of the tuning seed for each, the
    choice in brackets.
    """
    rows = []
    for cell in cells:
        for method, entry in step_sizes().get(cell.name, {}).items():
            figures = entry["valid NDCG@10"]
            tried = [
                f"[{lr:g}: {100 * v:.1f}]" if lr == entry["chosen"] else f"{lr:g}: {100 * v:.1f}"
                for lr, v in figures.items()
            ]
            edge = entry["chosen"] in (min(figures), max(figures))
            rows.append(
                {
                    "cell": cell.title,
                    "method": NAMES.get(method, method),
                    "step size: valid NDCG@10 (%)": ", ".join(tried),
                    "choice": "at the end of the grid" if edge else "inside",
                }
            )
    return pd.DataFrame(rows)


def _mean(group: Sequence[Record], key: str) -> float:
    values = [r.facts[key] for r in group if key in r.facts]
    return float(np.mean(values)) if values else float("nan")


def table(summary_frame: pd.DataFrame, k: int = 10, against: str = "full") -> pd.DataFrame:
    """The readable form of :func:`summary`: strings with units in the headings, which name what the others
    are compared with.
    """

    def span(mean: float, low: float, high: float, sign: str = "") -> str:
        return "" if np.isnan(mean) else f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"

    def number(value: float, digits: int = 0) -> str:
        return "–" if np.isnan(value) else f"{value:,.{digits}f}"

    s = summary_frame
    return pd.DataFrame(
        {
            "method": [NAMES.get(m, m) for m in s["method"]],
            f"HR@{k} (%) [95 %]": [span(*v) for v in zip(s["quality"], s["low"], s["high"], strict=True)],
            f"minus {against} (points) [95 %]": [
                span(*v, "+")
                for v in zip(s["difference"], s["difference low"], s["difference high"], strict=True)
            ],
            "verdict": s["verdict"],
            "detectable (points)": [number(v, 1) for v in s["detectable"]],
            "trained parameters": [number(v) for v in s["trained"]],
            "training (s)": [number(v, 1) for v in s["seconds"]],
            "memory (MiB)": [number(v) for v in s["memory"]],
        }
    )


def sentences(summaries: Mapping[Cell, pd.DataFrame], reference: str = "full") -> list[str]:
    """The verdicts in words, one line (a Markdown list item) for each cell."""
    lines = []
    for cell, frame in summaries.items():
        rows = frame.set_index("method")
        parts = []
        for name in [m for m in (*METHODS, "head") if m in rows.index]:
            row = rows.loc[name]
            share = 100 * row["trained"] / rows.loc[reference, "trained"]
            parts.append(
                f"{NAMES.get(name, name)} is **{row['verdict']}** ({row['difference']:+.1f} points "
                f"[{row['difference low']:+.1f}, {row['difference high']:+.1f}], {share:.{0 if share >= 1 else 1}f} % of the trained parameters)"
            )
        text = "; ".join(parts)
        if "scratch" in rows.index:
            gain = -rows.loc["scratch", "difference"]
            bounds = -rows.loc["scratch", "difference high"], -rows.loc["scratch", "difference low"]
            text += f". Source interactions are worth {gain:+.1f} points [{bounds[0]:+.1f}, {bounds[1]:+.1f}] to full fine-tuning"
        lines.append(f"- *{cell.title[0].upper() + cell.title[1:]}*: {text}.")
    return lines


def best_group(records: Sequence[Record], k: int = 10) -> pd.DataFrame:
    """The adapter with the highest mean HR@k, and for each other adapter whether it can be told from it.

    Intervals are simultaneous: percentiles of the draws at 5 % shared out over the other adapters
    (Bonferroni).

    Returns:
        One row an adapter, best first: "method", "difference" to the best in points with "low" and "high",
        and "in group".
    """
    groups = {m: found for m, found in by_method(records).items() if m in METHODS}
    values = {m: hits(ranks_by_seed(found), k) for m, found in groups.items()}
    order = sorted(values, key=lambda m: -float(values[m].mean()))
    tail = 100 * ALPHA / (2 * max(1, len(order) - 1))
    rows = [{"method": order[0], "difference": 0.0, "low": 0.0, "high": 0.0, "in group": True}]
    for method in order[1:]:
        d = paired_difference(values[method], values[order[0]])
        low, high = np.percentile(d.draws, [tail, 100 - tail])
        rows.append(
            {
                "method": method,
                "difference": 100 * d.mean,
                "low": 100 * low,
                "high": 100 * high,
                "in group": high >= 0,
            }
        )
    return pd.DataFrame(rows)


def pareto(frame: pd.DataFrame, cost: str = "trained", quality: str = "quality") -> list[str]:
    """Methods that train something and have no other with at most their cost and more quality, cheapest
    first.
    """
    rows = frame[frame["trained"] > 0].sort_values([cost, quality], ascending=[True, False])
    best, found = -np.inf, []
    for row in rows.itertuples():
        if getattr(row, quality) > best:
            best = getattr(row, quality)
            found.append(str(row.method))
    return found


def cost_table(frame: pd.DataFrame, costs: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame:
    """What methods cost beside what they reach, in the order of :data:`NAMES`.

    Args:
        frame: of :func:`summary`.
        costs: of :func:`transrec_core.training.costs.measure`.
        sizes: bytes that a method's trained weights take on disk.
    """
    found = frame.set_index("method")
    share = 100 * found["trained"] / found.loc["full", "trained"]
    step = costs.set_index("method")
    reference = step.loc["full", "seconds"]
    return pd.DataFrame(
        [
            {
                "method": NAMES.get(m, m),
                "HR@10 (%) [95 %]": f"{found.loc[m, 'quality']:.1f} [{found.loc[m, 'low']:.1f}, {found.loc[m, 'high']:.1f}]",
                "trained parameters": f"{found.loc[m, 'trained']:,.0f}",
                "of full (%)": f"{share[m]:.1f}",
                "step (ms)": f"{1000 * step.loc[m, 'seconds']:.1f}",
                "step / full": f"{step.loc[m, 'seconds'] / reference:.2f}",
                "peak memory (MiB)": f"{step.loc[m, 'memory']:.1f}",
                "on disk (KiB)": f"{sizes[m] / 1024:,.0f}",
            }
            for m in NAMES
            if m in step.index and m in found.index
        ]
    )
