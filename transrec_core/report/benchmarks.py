"""What the commands of ``benchmarks/`` wrote about costs, as tables, a figure and sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure


def short(value: float) -> str:
    """Three figures, with thousands separated."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(row: dict[str, Any] | Gain) -> str:
    """The smallest and the largest ratio of a row's pairs."""
    low, high = (row["low"], row["high"]) if isinstance(row, dict) else (row.low, row.high)
    return f"[{short(low)}, {short(high)}]"


@dataclass(frozen=True)
class Gain:
    """Two sides that took turns.

    Attributes:
        part: which part of the costs.
        what: was measured.
        baseline: what it is held against.
        before: the baseline's figure.
        after: ours.
        unit: of both.
        ratio: median over the pairs.
        low: smallest ratio.
        high: largest ratio.
        pairs: how many.
        goal: the ratio that was aimed at.
        reached: whether it was.
        note: what there is to say about it; may be empty.
    """

    part: str
    what: str
    baseline: str
    before: float
    after: float
    unit: str
    ratio: float
    low: float
    high: float
    pairs: int
    goal: float
    reached: bool
    note: str


@dataclass(frozen=True)
class Benchmark:
    """What ``make bench`` wrote.

    Attributes:
        rows: the gains.
        step: seconds of each part of a step, by side and part.
        ranking: rates of ranking by the number of items.
        machine: threads, processor and versions.
        titles: which titles were used.
        seconds: that it took.
    """

    rows: tuple[Gain, ...]
    step: dict[str, dict[str, float]]
    ranking: dict[str, dict[str, float]]
    machine: dict[str, Any]
    titles: str
    seconds: float


def read_benchmark(path: Path) -> Benchmark:
    """Reads what ``benchmarks/costs.py`` wrote."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    rows = tuple(Gain(**{name: row[name] for name in Gain.__dataclass_fields__}) for row in facts["rows"])
    extra = facts["extra"]
    return Benchmark(
        rows, extra["step"], extra["ranking"], facts["machine"], facts["titles"], facts["seconds"]
    )


#: Parts of a step in their order, with their colours.
PARTS = {
    "drawing the batch": "0.75",
    "item encoder, forward": "#0173b2",
    "user encoder and loss, forward": "#de8f05",
    "backward": "#56b4e9",
    "optimiser": "#029e73",
}


def plot_step(bench: Benchmark) -> Figure:
    """Seconds of one step by part, a bar for each side."""
    import matplotlib.pyplot as plt

    sides = list(bench.step)
    figure, axis = plt.subplots(figsize=(7.2, 3.4))
    left = [0.0] * len(sides)
    for part, shade in PARTS.items():
        widths = [bench.step[side][part] for side in sides]
        axis.barh(sides, widths, left=left, color=shade, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        axis.text(total + 0.01 * max(left), place, f"{total:.2f} s", va="center")
    axis.set(xlabel="seconds of one step", xlim=(0, 1.15 * max(left)))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    figure.legend(loc="lower center", ncols=2, frameon=False, bbox_to_anchor=(0.5, -0.34))
    return figure


def step_sentence(bench: Benchmark) -> str:
    """Where the time of our step goes."""
    here = bench.step["here"]
    share = {part: 100 * seconds / sum(here[name] for name in PARTS) for part, seconds in here.items()}
    encoder = share["item encoder, forward"] + share["backward"]
    return (
        f"One step of 32 users, BERT of 4 layers and width 256, titles of {bench.titles}. In what is left, "
        f"the item encoder's forward and the backward pass take {encoder:.0f} %, the optimiser "
        f"{share['optimiser']:.0f} %, and drawing the batch {share['drawing the batch']:.1f} %: what remains "
        "is the matrix work of items that a batch really names."
    )


def gains_table(bench: Benchmark) -> pd.DataFrame:
    """What was gained, against which goal."""
    return pd.DataFrame(
        [
            {
                "what": f"{number}. {row.what}",
                "before": f"{short(row.before)} {row.unit}",
                "after": f"{short(row.after)} {row.unit}",
                "ratio [least, most]": short(row.ratio) + (f" {spread(row)}" if row.pairs > 1 else ""),
                "goal": f"{short(row.goal)}: {'reached' if row.reached else 'missed'}",
            }
            for number, row in enumerate(bench.rows, 1)
        ]
    )


def gains_caption(bench: Benchmark) -> str:
    """On what it was measured."""
    machine, versions = bench.machine, bench.machine["versions"]
    return (
        f"make bench, {machine['threads']} threads, {machine['cpu']}, torch {versions['torch']}, "
        f"transformers {versions['transformers']}; titles of {bench.titles}"
    )


def gain_notes(bench: Benchmark) -> list[str]:
    """What each gain is held against, and what there is to say about it."""
    return [
        f"{number}. Against: {row.baseline}"
        + (f", {row.pairs} pairs" if row.pairs > 1 else "")
        + (f". {row.note[0].upper()}{row.note[1:]}" if row.note else "")
        + "."
        for number, row in enumerate(bench.rows, 1)
    ]


def goals_sentence(bench: Benchmark) -> str:
    """How many goals were reached, and which were missed."""
    missed = [
        f"{row.what} ({short(row.ratio)} instead of {short(row.goal)}; why is in note {number})"
        for number, row in enumerate(bench.rows, 1)
        if not row.reached
    ]
    reached = f"{len(bench.rows) - len(missed)} of {len(bench.rows)} goals were reached."
    return f"{reached} " + (f"Missed: {'; '.join(missed)}." if missed else "None was missed.")


def ranking_table(bench: Benchmark) -> pd.DataFrame:
    """What ranking takes by the number of items."""
    return pd.DataFrame(
        [
            {
                "items": f"{int(items):,}",
                "ms a user": short(1000 * rate["seconds a user"]),
                "peak memory (MiB)": short(rate["peak MiB"]),
                "item vectors (MiB)": short(rate["vectors MiB"]),
                "a million users (hours)": short(1e6 * rate["seconds a user"] / 3600),
            }
            for items, rate in bench.ranking.items()
        ]
    )


def read_others(path: Path) -> list[dict[str, Any]]:
    """Rows that ``make bench-others`` wrote; none without the file."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def others_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Other people's code beside ours, where it could be measured."""
    return pd.DataFrame(
        [
            {
                "what": row["what"],
                "against": row["theirs"],
                "theirs (s)": short(row["theirs_s"]),
                "ours (s)": short(row["ours_s"]),
                "theirs / ours": f"{short(row['ratio'])} {spread(row)}",
                "pairs": row["pairs"],
            }
            for row in rows
            if row.get("ratio") is not None
        ]
    )


def others_notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What there is to say about each of the others, and which could not be measured."""
    return [
        f"- {row['what']}: {'not measured: ' if row.get('ratio') is None else ''}{row['note']}"
        for row in rows
    ]


def read_gpu(path: Path) -> dict[str, Any] | None:
    """What ``benchmarks/gpu.py`` wrote; None without the file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def gpu_table(gpu: dict[str, Any]) -> pd.DataFrame:
    """Steps of all methods on a GPU."""
    return pd.DataFrame(
        [
            {
                "method": row["method"],
                "step (ms)": short(1000 * row["seconds"]),
                "tokens a second": f"{row['tokens a second']:,.0f}",
                "peak (GB)": short(row["peak GB"]),
                "of the matrix rate (%)": short(100 * row["share of matrix rate"])
                if row["share of matrix rate"]
                else "",
                "waits in a step": row["waits in a step"],
            }
            for row in gpu["rows"]
        ]
    )
