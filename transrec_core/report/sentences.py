"""What tables say, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from transrec_core.evaluation.statistics import Crossing, hits, interval, paired_difference, verdicts
from transrec_core.report.variants import WORDS, Groups, _span, said
from transrec_core.study.profile import Cell, Variant
from transrec_core.study.record import ranks_by_seed


def not_run(found: Mapping[Cell, list[Variant]]) -> str:
    """A sentence on what was planned and is not recorded."""
    parts = [
        f"{cell.title}: {', '.join(v.label() for v in missing)}" for cell, missing in found.items() if missing
    ]
    return (
        f"Planned and not recorded, or damaged: {'; '.join(parts)}."
        if parts
        else "All that was planned is recorded."
    )


def interaction_sentences(found: Groups, cell: Cell) -> list[str]:
    """What a parallel adapter gains over a serial one at each position and size, and whether that gain
    depends on them; Markdown list items.

    Family: the interactions of one cell, corrected together.
    """
    gains: dict[str, np.ndarray] = {}
    for factor, levels in (
        ("", ("",)),
        ("position", ("attention", "ffn")),
        ("size", ("1/1", "4/2", "64/32")),
    ):
        for level in levels:
            before = ((factor, level),) if factor == "position" else ()
            after = ((factor, level),) if factor == "size" else ()
            serial, parallel = (
                found.get(Variant("houlsby", (*before, *form, *after)))
                for form in ((), (("form", "parallel"),))
            )
            if serial is not None and parallel is not None:
                name = f"{WORDS.get(factor, factor)}: {WORDS.get(level, level)}" if factor else "base point"
                gains[name] = hits(ranks_by_seed(parallel)) - hits(ranks_by_seed(serial))
    lines = []
    for name, values in gains.items():
        q = interval(values)
        span = _span(100 * q.mean, 100 * q.low, 100 * q.high, "+")
        lines.append(
            f"- {cell.title[0].upper() + cell.title[1:]}, parallel minus serial, {name}: {span} points."
        )
    extra = {
        name: paired_difference(values, gains["base point"])
        for name, values in gains.items()
        if name != "base point" and "base point" in gains
    }
    judged = dict(zip(extra, verdicts(list(extra.values()), 0.0), strict=True))
    told = [
        f"{name} {_span(100 * d.mean, 100 * d.low, 100 * d.high, '+')}"
        for name, d in extra.items()
        if judged[name] in ("worse", "better")
    ]
    if extra:
        lines.append(
            f"- *Interactions*: that gain differs from the base point's at {'; '.join(told) or 'none of these places, as far as can be told'}."
        )
    return lines


def factor_sentences(frame: pd.DataFrame) -> list[str]:
    """One line a verdict: which changes of the base point made things worse, better, no difference, or
    can't be told.
    """
    lines = []
    for what, text in (
        ("better", "Better than the base point"),
        ("comparable", "Comparable to it"),
        ("worse", "Worse"),
        ("undecided", "Can't be told"),
    ):
        rows = frame[(frame["verdict"] == what) & frame["variant"].map(lambda v: bool(v.levels))]
        parts = [f"{said(row.variant)} ({row.difference:+.1f})" for row in rows.itertuples()]
        lines.append(f"- {text}: {'; '.join(parts) or 'none'}.")
    return lines


def crossing_words(name: str, found: Crossing) -> str:
    """What a crossing along an axis of shares says, by the protocol's rule; a Markdown list item."""
    where = f"{100 * found.place:.2g} % of the users [{100 * found.low:.2g}, {100 * found.high:.2g}]"
    if found.share <= 0.05:
        return f"- *{name}*: none seen (a change of sign in {100 * found.share:.0f} % of the resamples)."
    if found.share >= 0.95 and found.certain:
        return f"- *{name}*: at {where}."
    share = f"{100 * found.share:.0f} % of the resamples have a change of sign, at {where}"
    return f"- *{name}*: undecided; no sign is certain on both sides ({share})."


def agreement_sentence(frame: pd.DataFrame, profile: str) -> str:
    """How many live figures agree with the recorded ones."""
    if profile == "smoke":
        return "With the profile `smoke`, which trains for a few steps only, live figures can't agree with recorded ones."
    again = frame[frame["same run again"] != "not recorded"]
    inside, equal = (frame["inside"] == "yes").sum(), (again["same run again"] == "equal ranks").sum()
    again_said = f"of {len(again)} that repeat recorded runs, {equal} have exactly their ranks"
    return f"{inside} of {len(frame)} live figures lie inside the recorded interval; {again_said}."
