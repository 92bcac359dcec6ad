"""The one place where comparisons become tables: strings with their units in the headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from transrec_core.report.cold import PARTS, by_targets, median_cold_rank
from transrec_core.report.comparisons import ENOUGH_SEEDS, FULL, Runs, by_method, compare, methods_of
from transrec_core.report.curves import PairCurve, Point
from transrec_core.report.estimates import Comparison, Estimate, Verdict
from transrec_core.report.guidance import Advice, Effects
from transrec_core.report.hypotheses import Hypothesis
from transrec_core.report.live import Agreement
from transrec_core.report.names import NAMES, capital, full_name, in_order, method_name, variant_name, word
from transrec_core.report.plain import plain_table
from transrec_core.report.worlds import Cells, SideBySide
from transrec_core.study.profile import Cell, Variant
from transrec_core.study.record import Record

NONE = "–"


def comparison_table(
    compared: Iterable[Comparison], k: int = 10, against: str = "full", costs: bool = True
) -> pd.DataFrame:
    """Methods against what the headings name.

    Args:
        compared: of one cell.
        k: cut-off of HR@k.
        against: what the reference is called.
        costs: whether times and memory are shown.
    """
    rows = [
        {
            "method": method_name(c.method),
            f"HR@{k} (%) [95 %]": c.quality.percent(),
            f"minus {against} (points) [95 %]": _points(c.difference),
            "verdict": str(c.verdict),
            "detectable (points)": _number(100 * c.detectable, 1),
            "trained parameters": _number(c.costs.trained),
            **({"training (s)": _number(c.costs.seconds, 1)} if costs else {}),
            **({"memory (MiB)": _number(c.costs.memory)} if costs else {}),
        }
        for c in compared
    ]
    return pd.DataFrame(rows)


def _points(difference: Estimate | None) -> str:
    return "" if difference is None else difference.points()


def _number(value: float, digits: int = 0) -> str:
    return NONE if np.isnan(value) else f"{value:,.{digits}f}"


def verdict_table(cells: Mapping[Cell, Runs] | Sequence[Record]) -> str:
    """The verdicts of a study as plain text: HR@10 with its interval, the difference to what a thing is
    compared with, the verdict.

    That is full fine-tuning, or the cell's first method where it was not run. What changes a factor is
    compared with full fine-tuning at the same level, or else with the method itself.

    Args:
        cells: runs of each cell of a study (:func:`transrec_core.report.variants.question_runs`), or the
            records of a single cell.
    """
    titled = (
        [(capital(cell.title), runs) for cell, runs in cells.items()]
        if isinstance(cells, Mapping)
        else [("", by_method(cells))]
    )
    return "\n\n".join("\n".join(filter(None, (title, _verdicts(runs)))) for title, runs in titled)


def _verdicts(runs: Runs) -> str:
    if not runs:
        return "nothing is recorded yet"
    ordered = {**methods_of(runs), **{v: records for v, records in runs.items() if v.levels}}
    first = FULL if FULL in ordered else next(iter(ordered))
    families: dict[Variant, list[Variant]] = {}
    for variant in ordered:
        candidates = (Variant(FULL.method, variant.levels), Variant(variant.method)) if variant.levels else ()
        reference = next((v for v in candidates if v in ordered), first)
        families.setdefault(reference, []).append(variant)
    rows = [
        {
            "method": full_name(c.variant),
            "seeds": c.quality.seeds,
            "HR@10 (%) [95 %]": c.quality.percent(),
            "compared with": full_name(reference) if c.difference else "",
            "difference (points) [95 %]": _points(c.difference),
            "detectable": _number(100 * c.detectable, 1),
            "verdict": str(c.verdict),
        }
        for reference, variants in families.items()
        for c in compare(ordered, reference, variants, seeds=ENOUGH_SEEDS)
        if c.variant in variants
    ]
    return plain_table(rows)


def factor_table(compared: Sequence[Comparison]) -> pd.DataFrame:
    """Changes of a base point, one factor at a time."""
    base = next(c for c in compared if c.verdict == Verdict.REFERENCE)
    return pd.DataFrame(
        [
            {
                "factor": ", ".join(word(factor) for factor, _ in c.variant.levels)
                or ("base point" if c is base else ""),
                "level": ", ".join(word(level) for _, level in c.variant.levels) or method_name(c.method),
                "HR@10 (%) [95 %]": c.quality.percent(),
                "minus base (points) [95 %]": _points(c.difference),
                "verdict": str(c.verdict),
                "detectable (points)": _number(100 * c.detectable, 1),
                "trained parameters": _number(c.costs.trained),
                "of base": f"{c.costs.trained / base.costs.trained:.2f}",
            }
            for c in compared
        ]
    )


def curve_table(points: Sequence[Point], heading: str) -> pd.DataFrame:
    """HR@10 along an axis of shares: a row a share, a column a method."""
    methods = in_order(p.method for p in points)
    cells = {(p.place, p.method): p.quality.percent() for p in points}
    return pd.DataFrame(
        [
            {heading: f"{100 * place:g}"} | {method_name(m): cells.get((place, m), NONE) for m in methods}
            for place in sorted({p.place for p in points})
        ]
    )


def pair_table(curves: Iterable[PairCurve], users: int | None = None) -> pd.DataFrame:
    """Differences of pairs of methods: a row a share (the index as well), a column a pair.

    Args:
        curves: of the pairs.
        users: how many the whole are; None shows shares in their place.
    """
    columns = {
        f"{curve.name} (points) [95 %], verdict": {
            p.place: f"{p.difference.points()} {p.verdict}" for p in curve.points
        }
        for curve in curves
    }
    frame = pd.DataFrame(columns)
    if users is None:
        frame.insert(0, "share (%)", [f"{100 * place:g}" for place in frame.index])
    else:
        frame.insert(0, "users", [f"{round(users * place):,}" for place in frame.index])
    return frame


def source_table(
    curves: Iterable[PairCurve], points: Iterable[Point], methods: Sequence[str], steps: Mapping[float, str]
) -> pd.DataFrame:
    """:func:`pair_table` by the share of the source, with what the methods reach there and the steps that the
    source models took.
    """
    frame, reached = pair_table(curves), {(p.method, p.place): p.quality.percent() for p in points}
    for m in methods:
        frame[f"{method_name(m)}, HR@10 (%) [95 %]"] = [reached[m, place] for place in frame.index]
    frame["source steps, mean [least, most]"] = [steps.get(place, "shipped") for place in frame.index]
    return frame


def agreement_table(agreements: Iterable[Agreement]) -> pd.DataFrame:
    """Live figures beside recorded ones."""
    ranks = {None: "not recorded", True: "equal ranks", False: "ranks differ"}
    rows = [
        {
            "cell": a.cell.title,
            "what": full_name(a.variant),
            "live HR@10 (%)": f"{100 * a.live:.2f}",
            "recorded HR@10 (%) [95 %]": a.recorded.percent(),
            "same run again": ranks[a.same_ranks],
            "inside": "yes" if a.inside else "no",
        }
        for a in agreements
    ]
    columns = ["cell", "what", "live HR@10 (%)", "recorded HR@10 (%) [95 %]", "same run again", "inside"]
    return pd.DataFrame(rows, columns=columns)


def cold_table(runs: Runs) -> pd.DataFrame:
    """HR@10 on warm and cold targets for each method and control of a cell, and the median rank of the cold
    targets, where it is recorded.
    """
    plain = {v.method: records for v, records in methods_of(runs).items()}
    split = by_targets(plain)
    rows = []
    for method, parts in split.items():
        median = median_cold_rank(plain[method])
        spans = {
            f"{part}: HR@10 (%) [95 %]": parts[part].percent() if part in parts else NONE for part in PARTS
        }
        middle = {"cold: median rank": NONE if median is None else f"{median:,.0f}"}
        rows.append({"method": method_name(method), "seeds": parts["all"].seeds, **spans, **middle})
    return pd.DataFrame(rows)


def hypotheses_table(judged: Mapping[Cell, Mapping[str, Hypothesis]]) -> pd.DataFrame:
    """What became of each hypothesis in each cell."""
    return pd.DataFrame(
        [
            {"cell": cell.content} | {name: _hypothesis(h) for name, h in hypotheses.items()}
            for cell, hypotheses in judged.items()
        ]
    )


def _hypothesis(h: Hypothesis) -> str:
    if h.outcome == "not run":
        return h.outcome
    if h.difference is None:
        return f"{h.outcome}: {h.reason}"
    return f"{h.outcome}: {h.verdict}, {h.difference.points(unit=' points')}"


def controls_table(embedded: Cells, real: Cells) -> pd.DataFrame:
    """HR@10 in percent of full fine-tuning and of each control, a column a cell."""
    rows = []
    for name in ("full", "scratch", "frozen", "untrained", "item_id", "popularity", "nearest"):
        row = {"HR@10 (%)": NAMES[name]}
        for cell, runs in (*embedded.items(), *real.items()):
            records = runs.get(Variant(name), [])
            row[cell] = f"{100 * np.mean([r.metrics['HR@10'] for r in records]):.1f}" if records else NONE
        rows.append(row)
    return pd.DataFrame(rows)


def side_by_side_table(rows: Iterable[SideBySide]) -> pd.DataFrame:
    """Verdicts of both worlds, with differences in percent of full fine-tuning's HR@10."""
    return pd.DataFrame(
        [
            {"what": row.what}
            | {
                cell: f"{effect.verdict} ({100 * effect.relative:+.0f} %)" if effect else NONE
                for cell, effect in row.effects.items()
            }
            | {"embedded and real": row.outcome}
            for row in rows
        ]
    )


def advice_table(advice: Iterable[Advice]) -> pd.DataFrame:
    """What to use in which situation."""
    return pd.DataFrame(
        [
            {
                "given": a.given,
                "use": method_name(a.choice.use),
                "evidence": _advice_evidence(a),
                "not to be told from the best": ", ".join(map(method_name, a.choice.undecided)) or NONE,
            }
            for a in advice
        ]
    )


def _advice_evidence(advice: Advice) -> str:
    used = advice.choice.quality
    return f"HR@10 {used.percent(unit=' %')}, runs: {used.seeds}, {advice.where}"


def effects_table(cells: Mapping[Cell, Effects], where: str = "embedded") -> pd.DataFrame:
    """What to change of a base point, what not: by cell, what saves, what helps, what to avoid."""
    changes = "changes (difference in points [95 %], parameters as a multiple of the base point's)"
    rows = []
    for cell, effects in cells.items():
        kinds = {
            "fewer parameters, comparable": effects.cheaper,
            "better": effects.better,
            "worse": effects.worse,
        }
        for kind, chosen in kinds.items():
            parts = [
                f"{variant_name(c.variant)} ({c.gap.points()}, "
                f"{c.costs.trained / effects.base.costs.trained:.2f})"
                for c in chosen
            ]
            evidence = f"{effects.base.quality.seeds} seeds, {where}"
            text = "; ".join(parts) or "none seen"
            rows.append({"content": cell.content, "effect": kind, changes: text, "evidence": evidence})
    return pd.DataFrame(rows)
