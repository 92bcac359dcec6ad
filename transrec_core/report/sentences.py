"""The one place where comparisons become words: sentences, and items of Markdown lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from transrec_core.adapters.registry import METHODS
from transrec_core.evaluation.statistics import Crossing
from transrec_core.report.cold import ColdComparison
from transrec_core.report.comparisons import FULL, Contender, by_name
from transrec_core.report.crossed import Gain
from transrec_core.report.curves import PairCurve
from transrec_core.report.estimates import Comparison, Estimate, Verdict
from transrec_core.report.evidence import Evidence
from transrec_core.report.hypotheses import Notes
from transrec_core.report.live import Agreement
from transrec_core.report.names import capital, in_order, method_name, variant_name
from transrec_core.report.stepcosts import StepCost
from transrec_core.report.worlds import QUESTIONS, SideBySide, both_worlds, shipped
from transrec_core.study.profile import Cell, Variant
from transrec_core.study.step_sizes import step_sizes


def missing_sentence(missing: Mapping[Cell, Sequence[Variant]]) -> str:
    """What was planned and is not recorded."""
    parts = [
        f"{cell.title}: {', '.join(v.label() for v in variants)}"
        for cell, variants in missing.items()
        if variants
    ]
    if not parts:
        return "All that was planned is recorded."
    return f"Planned and not recorded, or damaged: {'; '.join(parts)}."


def verdict_lines(cells: Mapping[Cell, Sequence[Comparison]]) -> list[str]:
    """What adapters, the head alone and no source reach against full fine-tuning, one line a cell."""
    lines = []
    for cell, compared in cells.items():
        methods = by_name(compared)
        parts = []
        for c in (methods[m] for m in (*METHODS, "head") if m in methods):
            share = 100 * c.costs.trained / methods[FULL.method].costs.trained
            parts.append(
                f"{method_name(c.method)} is **{c.verdict}** ({_points(c.gap)}, "
                f"{share:.{0 if share >= 1 else 1}f} % of the trained parameters)"
            )
        text = "; ".join(parts)
        if "scratch" in methods:
            worth = _points(-methods["scratch"].gap)
            text += f". Source interactions are worth {worth} to full fine-tuning"
        lines.append(f"- *{capital(cell.title)}*: {text}.")
    return lines


def _points(difference: Estimate) -> str:
    return difference.points(unit=" points")


def control_lines(cells: Mapping[Cell, Sequence[Comparison]]) -> list[str]:
    """What item-ID SASRec and the controls without training reach against full fine-tuning, one line a
    cell.
    """
    lines = []
    for cell, compared in cells.items():
        methods = by_name(compared)
        parts = [
            f"{method_name(m)} is **{methods[m].verdict}** ({_points(methods[m].gap)})"
            for m in ("item_id", "nearest", "popularity")
            if m in methods
        ]
        told = "; ".join(parts) or "no control is recorded"
        lines.append(f"- *{capital(cell.content)}*, against full fine-tuning: {told}.")
    return lines


def note_lines(notes: Notes) -> list[str]:
    """What is to be noticed about the methods of a cell before they are ranked."""
    above, below, late, flat = (
        ", ".join(map(method_name, methods)) or "none"
        for methods in (notes.above, notes.below, notes.late, notes.flat)
    )
    nothing = "" if notes.above else ", so that nothing can be ranked here"
    return [
        f"- Certainly better than popularity, of what is trained: {above}{nothing}.",
        f"- No higher mean than popularity: {below}.",
        f"- Best at the last step, so perhaps not done learning, in at least one seed: {late}.",
        f"- Never better than the start, in at least one seed: {flat}.",
    ]


def factor_lines(compared: Iterable[Comparison]) -> list[str]:
    """Which changes of the base point made things better, no different, worse, or can't be told; one line a
    verdict.
    """
    words = {
        Verdict.BETTER: "Better than the base point",
        Verdict.COMPARABLE: "Comparable to it",
        Verdict.WORSE: "Worse",
        Verdict.UNDECIDED: "Can't be told",
    }
    changes = [c for c in compared if c.variant.levels]
    lines = []
    for verdict, text in words.items():
        parts = [
            f"{variant_name(c.variant)} ({100 * c.gap.mean:+.1f})" for c in changes if c.verdict == verdict
        ]
        lines.append(f"- {text}: {'; '.join(parts) or 'none'}.")
    return lines


def interaction_lines(gains: Sequence[Gain], cell: Cell) -> list[str]:
    """What a parallel adapter gains over a serial one at each place, and where that differs from the base
    point.
    """
    lines = [
        f"- {capital(cell.title)}, parallel minus serial, {gain.place}: {gain.gain.points()} points."
        for gain in gains
    ]
    if any(gain.extra is not None for gain in gains):
        parts = [
            f"{gain.place} {gain.extra.points()}"
            for gain in gains
            if gain.extra is not None and gain.verdict in (Verdict.WORSE, Verdict.BETTER)
        ]
        told = "; ".join(parts) or "none of these places, as far as can be told"
        lines.append(f"- *Interactions*: that gain differs from the base point's at {told}.")
    return lines


def crossing_line(name: str, crossing: Crossing) -> str:
    """What a crossing along an axis of shares says, by the protocol's rule."""
    low, high = 100 * crossing.low, 100 * crossing.high
    where = f"{100 * crossing.place:.2g} % of the users [{low:.2g}, {high:.2g}]"
    resamples = f"{100 * crossing.share:.0f} % of the resamples"
    if crossing.share <= 0.05:
        return f"- *{name}*: none seen (a change of sign in {resamples})."
    if crossing.share >= 0.95 and crossing.certain:
        return f"- *{name}*: at {where}."
    return (
        f"- *{name}*: undecided; no sign is certain on both sides "
        f"({resamples} have a change of sign, at {where})."
    )


def crossing_lines(curves: Iterable[PairCurve]) -> list[str]:
    """:func:`crossing_line` of several pairs."""
    return [crossing_line(curve.name, curve.crossing) for curve in curves]


def share_lines(cell: Cell, curves: Iterable[PairCurve]) -> list[str]:
    """The differences of pairs of methods at each share of the users, one line a pair."""
    lines = []
    for curve in curves:
        parts = [f"{100 * p.place:g} %: {p.difference.points()} {p.verdict}" for p in curve.points]
        lines.append(f"- *{cell.content}*, {curve.name} (points) by the share of users: {'; '.join(parts)}")
    return lines


def agreement_sentence(agreements: Sequence[Agreement], profile: str) -> str:
    """How many live figures agree with the recorded ones."""
    if profile == "smoke":
        return (
            "With the profile `smoke`, which trains for a few steps only, live figures can't agree with "
            "recorded ones."
        )
    inside = sum(a.inside for a in agreements)
    again = [a for a in agreements if a.same_ranks is not None]
    equal = sum(bool(a.same_ranks) for a in again)
    return (
        f"{inside} of {len(agreements)} live figures lie inside the recorded interval; of {len(again)} that "
        f"repeat recorded runs, {equal} have exactly their ranks."
    )


def cold_line(cell: Cell, cold: ColdComparison | None) -> str:
    """Hypothesis H4 on a cell; empty if nothing of it is recorded."""
    if cold is None:
        return ""
    if cold.difference is None:
        return f"- *{cell.content}*: {cold.reason}."
    difference = f"full fine-tuning minus item-ID SASRec on cold targets {_points(cold.difference)}"
    return f"- *{cell.content}*: {difference}: **{cold.verdict}**."


def best_lines(groups: Mapping[Cell, Sequence[Contender]]) -> list[str]:
    """Which adapters can't be told from the best of each cell, and which are in every cell's group."""
    lines = []
    for cell, contenders in groups.items():
        names = [method_name(c.method) for c in contenders if c.in_group]
        text = f"- *{capital(cell.title)}*: **{names[0]}** has the highest mean; "
        text += f"not to be told from it: {', '.join(names[1:]) or 'none'}. "
        if behind := [c for c in contenders if not c.in_group]:
            nearest, last = behind[0], behind[-1]
            text += (
                f"The nearest that is certainly behind is {method_name(nearest.method)} "
                f"({_points(nearest.difference)}), the last {method_name(last.method)} "
                f"({last.difference.points()})."
            )
        lines.append(text)
    members = [{c.method for c in contenders if c.in_group} for contenders in groups.values()]
    shared = set.intersection(*members) if members else set()
    told = ", ".join(method_name(m) for m in in_order(shared)) or "none"
    return [*lines, f"- In the best group of every cell: {told}."]


def group_line(cell: Cell, contenders: Iterable[Contender], front: Iterable[Comparison]) -> str:
    """Which adapters can't be told from the best one, and what is worth its parameters."""
    group = ", ".join(method_name(c.method) for c in contenders if c.in_group)
    return (
        f"- *{cell.content}*: adapters that can't be told from the best one: {group}. "
        f"Worth their parameters: {names_of(front)}."
    )


def front_lines(cells: Mapping[Cell, Iterable[Comparison]]) -> list[str]:
    """The Pareto set of each cell, cheapest first."""
    return [f"- *{capital(cell.title)}*: {names_of(front, ' → ')}." for cell, front in cells.items()]


def names_of(compared: Iterable[Comparison], between: str = ", ") -> str:
    """The methods of some comparisons by name."""
    return between.join(method_name(c.method) for c in compared)


def step_cost_line(cell: Cell, costs: Mapping[str, StepCost]) -> str:
    """The cheapest and the dearest adapter by the time of a step, as multiples of full fine-tuning's."""
    ratio = {m: costs[m].seconds / costs[FULL.method].seconds for m in METHODS if m in costs}
    cheap, dear = min(ratio, key=lambda m: ratio[m]), max(ratio, key=lambda m: ratio[m])
    middle = sorted(ratio.values())
    half = len(middle) // 2
    median = (middle[half] + middle[-half - 1]) / 2
    return (
        f"- *{capital(cell.title)}*, a step as a multiple of full fine-tuning's: cheapest "
        f"{method_name(cheap)} ({ratio[cheap]:.2f}), dearest {method_name(dear)} ({ratio[dear]:.2f}), "
        f"median of the adapters {median:.2f}."
    )


def step_size_line(cell: Cell, method: str) -> str:
    """How far the neighbours of a method's chosen step size fell behind it in validation NDCG@10."""
    entry = step_sizes()[cell.name][method]
    figures, chosen = entry["valid NDCG@10"], entry["chosen"]
    grid = list(figures)
    place = grid.index(chosen)
    near = [
        f"step size {grid[k]:g}: {100 * (figures[grid[k]] / figures[chosen] - 1):+.1f} %"
        for k in (place - 1, place + 1)
        if 0 <= k < len(grid)
    ]
    return f"- *{capital(cell.title)}*: chosen {chosen:g}; {', '.join(near)}."


def open_lines(compared: Iterable[Comparison], cell: Cell) -> list[str]:
    """Comparisons that stay undecided, with what could have been detected beside the margin."""
    return [
        f"- {cell.content}, {variant_name(c.variant)}: {100 * c.gap.mean:+.1f} points, "
        f"{100 * c.detectable:.1f} detectable, {100 * c.margin:.1f} would matter"
        for c in compared
        if c.verdict == Verdict.UNDECIDED
    ]


def recorded_line(evidence: Evidence) -> str:
    """How much of the study on real data is recorded."""
    return (
        f"- Real data: {len(evidence.recorded)} of {len(evidence.planned_ids())} runs whose step sizes are "
        "chosen are recorded; {doc}`real` lists what was not run."
    )


def world_sentence(rows: Sequence[SideBySide]) -> str:
    """Where the two worlds agree, disagree, or can't tell."""
    if not rows:
        return "Nothing is recorded on both sides yet."
    parts = [
        f"{outcome}: {', '.join(row.what for row in rows if row.outcome == outcome) or 'none'}"
        for outcome in ("agree", "disagree", "can't tell")
    ]
    return "; ".join(parts) + "."


def world_lines() -> list[str]:
    """For each question, where the two worlds disagree, by what ships."""
    return [
        f"- {{doc}}`{question}`: {world_sentence(both_worlds(question, *shipped(question)))}"
        for question in QUESTIONS
    ]
