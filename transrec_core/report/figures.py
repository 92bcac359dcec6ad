"""Figures from tables of records, and the picture of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullFormatter

from transrec_core.report.names import NAMES
from transrec_core.report.tables import pareto
from transrec_core.study.profile import Cell


def plot_pareto(frames: Mapping[str, pd.DataFrame], methods: Sequence[str]) -> Figure:
    """Quality against trained parameters for each frame (by title), methods named at their points, the
    Pareto set joined by a line.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(frames), 1, figsize=(6.4, 5.2 * len(frames)), squeeze=False, layout="constrained"
    )
    for (title, frame), axis in zip(frames.items(), axes[:, 0], strict=True):
        points = frame[frame["method"].isin(methods)].set_index("method")
        front = pareto(frame[frame["method"].isin(methods)])
        axis.plot(
            points.loc[front, "trained"],
            points.loc[front, "quality"],
            color="C0",
            lw=1.2,
            alpha=0.7,
            zorder=1,
            drawstyle="steps-post",
        )
        for name, point in points.iterrows():
            color = "C0" if name in front else "0.35"
            span = [[point["quality"] - point["low"]], [point["high"] - point["quality"]]]
            axis.errorbar(point["trained"], point["quality"], span, fmt="o", color=color, ms=6, lw=1.2)
        axis.set(xlabel="trained parameters, head included", ylabel="HR@10 (%)", xscale="log")
        axis.set_title(title, loc="left")
        low, high = points["trained"].min(), points["trained"].max()
        axis.set_xlim(low * 0.72, high * 1.7)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        _name_points(axis, points, front)
    return figure


def _name_points(axis: Any, points: pd.DataFrame, front: Sequence[str]) -> None:
    # Names stand right or left of their points; each takes the free place that is nearest to its point.
    axis.figure.canvas.draw()
    place = axis.transData.transform
    taken = [tuple(place((p["trained"], p["quality"]))) + (9.0, 9.0) for _, p in points.iterrows()]
    size, dpi = 10.5, axis.figure.dpi
    for name, point in points.sort_values("quality", ascending=False).iterrows():
        x, y = place((point["trained"], point["quality"]))
        text = NAMES.get(str(name), str(name))
        width, height = 0.56 * size * len(text) * dpi / 72, 1.25 * size * dpi / 72
        options = [
            (side * (width / 2 + 8), shift)
            for shift in sorted(np.arange(-6, 7) * height / 2, key=abs)
            for side in (1, -1)
        ]
        free = [
            (dx, dy)
            for dx, dy in options
            if all(
                abs(x + dx - ox) > (width + ow) / 2 or abs(y + dy - oy) > (height + oh) / 2
                for ox, oy, ow, oh in taken
            )
            and axis.bbox.x0 < x + dx - width / 2
            and x + dx + width / 2 < axis.bbox.x1
        ]
        dx, dy = (free or options)[0]
        taken.append((x + dx, y + dy, width, height))
        weight = "bold" if name in front else "normal"
        axis.annotate(
            text,
            (point["trained"], point["quality"]),
            (dx * 72 / dpi, dy * 72 / dpi),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            weight=weight,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def plot_costs(summaries: Mapping[Cell, pd.DataFrame]) -> Figure:
    """Quality against trained parameters (left) and training time (right), a row of axes for each cell."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    methods = [
        m
        for m in NAMES
        if any(
            (f["method"] == m).any() and f.loc[f["method"] == m, "trained"].gt(0).any()
            for f in summaries.values()
        )
    ]
    palette = dict(zip(methods, sns.color_palette("colorblind", len(methods)), strict=True))
    figure, axes = plt.subplots(
        len(summaries),
        2,
        figsize=(6.4, 3.1 * len(summaries)),
        squeeze=False,
        sharey="row",
        layout="constrained",
    )
    for (cell, frame), row in zip(summaries.items(), axes, strict=True):
        points = frame[frame["seconds"].notna()]
        row[0].set_title(cell.title, loc="left")
        for axis, (column, label) in zip(
            row, (("trained", "trained parameters"), ("seconds", "training time (s)")), strict=True
        ):
            sns.scatterplot(
                points, x=column, y="quality", hue="method", palette=palette, s=70, legend=False, ax=axis
            )
            for point in points.itertuples():
                axis.vlines(
                    getattr(point, column), point.low, point.high, color=palette[point.method], lw=1.5
                )
            for control, line in (("oracle", ":"), ("popularity", "--")):
                for value in frame.loc[frame["method"] == control, "quality"]:
                    axis.axhline(value, color="0.45", ls=line, lw=1.2)
            axis.set(xlabel=label, ylabel="HR@10 (%)", ylim=(0, None))
            if column == "trained":
                axis.set_xscale("log")
                axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
                axis.xaxis.set_minor_formatter(NullFormatter())
            else:
                axis.set_xlim(0, None)
    handles = [Line2D([], [], marker="o", ls="", color=palette[m], label=NAMES[m]) for m in methods]
    handles += [
        Line2D([], [], color="0.45", ls=":", label="oracle"),
        Line2D([], [], color="0.45", ls="--", label="popularity"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


#: Colours of verdicts, told apart by people who see few colours as well.
VERDICTS = {"better": "C0", "comparable": "C2", "worse": "C3", "undecided": "0.45", "reference": "black"}


def plot_forest(frames: Mapping[str, pd.DataFrame], margins: Mapping[str, float]) -> Figure:
    """Differences of variants to the base point with intervals and the margin, from tables of
    ``comparisons.factor_summary`` by title.
    """
    import matplotlib.pyplot as plt

    from transrec_core.report.variants import said

    shown = {title: frame[frame["verdict"] != "reference"].iloc[::-1] for title, frame in frames.items()}
    heights = [0.42 * len(frame) + 1.3 for frame in shown.values()]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(6.4, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for (title, frame), axis in zip(shown.items(), axes[:, 0], strict=True):
        axis.axvspan(-margins[title], margins[title], color="0.9", zorder=0)
        axis.axvline(0, color="0.4", lw=1)
        for y, row in enumerate(frame.to_dict("records")):
            color = VERDICTS[row["verdict"]]
            axis.plot([row["difference low"], row["difference high"]], [y, y], color=color, lw=2)
            axis.plot(row["difference"], y, "o", color=color, ms=6)
        axis.set_yticks(range(len(frame)), [said(v) for v in frame["variant"]], fontsize=11)
        axis.set(xlabel="HR@10 minus base point (points)", ylim=(-0.7, len(frame) - 0.3))
        axis.set_title(title, loc="left", x=-0.6)
        axis.grid(axis="y", visible=False)
    handles = [
        Line2D([], [], color=color, marker="o", label=name)
        for name, color in VERDICTS.items()
        if name != "reference"
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def plot_crossed(frame: pd.DataFrame, title: str) -> Figure:
    """Quality by size for each position (a panel) and form (a line), from
    :func:`transrec_core.report.tables.variants.crossed_frame`.
    """
    import matplotlib.pyplot as plt

    positions = list(dict.fromkeys(frame["position"]))
    figure, axes = plt.subplots(
        len(positions),
        1,
        figsize=(6.4, 2.6 * len(positions)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for position, axis in zip(positions, axes[:, 0], strict=True):
        for form, (color, marker) in {"serial": ("C0", "o"), "parallel": ("C1", "s")}.items():
            rows = frame[(frame["position"] == position) & (frame["form"] == form)]
            x = rows["size"] * (0.96 if form == "serial" else 1.04)  # side by side
            axis.errorbar(
                x,
                rows["quality"],
                [rows["quality"] - rows["low"], rows["high"] - rows["quality"]],
                color=color,
                marker=marker,
                lw=1.5,
                label=form,
            )
        axis.set(ylabel="HR@10 (%)", xscale="log")
        axis.set_title(position, loc="left")
        axis.set_xticks(sorted(set(frame["size"])), [f"{size}" for size in sorted(set(frame["size"]))])
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[-1, 0].set_xlabel("bottleneck size in the item encoder (half in the user encoder)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=13)
    return figure


def plot_curves(
    frames: Mapping[str, pd.DataFrame], xlabel: str, lines: Mapping[str, Mapping[str, float]] | None = None
) -> Figure:
    """Learning curves with 95 % intervals, from tables of ``comparisons.curve`` by title; ``lines``:
    levels to draw across, by title and name.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    methods = [m for m in NAMES if any((frame["method"] == m).any() for frame in frames.values())]
    palette = dict(zip(methods, sns.color_palette("colorblind", len(methods)), strict=True))
    markers = dict(zip(methods, "osD^vPX*" * 2, strict=False))
    figure, axes = plt.subplots(
        len(frames), 1, figsize=(6.4, 3.9 * len(frames)), squeeze=False, layout="constrained"
    )
    for (title, frame), axis in zip(frames.items(), axes[:, 0], strict=True):
        for number, method in enumerate(methods):
            rows = frame[frame["method"] == method]
            x = rows["x"] * 1.03 ** (number - len(methods) / 2)  # side by side
            axis.errorbar(
                x,
                rows["quality"],
                [rows["quality"] - rows["low"], rows["high"] - rows["quality"]],
                color=palette[method],
                marker=markers[method],
                lw=1.5,
            )
        for style_, (name, value) in zip(("--", ":"), (lines or {}).get(title, {}).items(), strict=False):
            axis.axhline(value, color="0.45", ls=style_, lw=1.2)
            axis.annotate(
                name,
                (1, value),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=11,
                color="0.3",
            )
        axis.set(xlabel=xlabel, ylabel="HR@10 (%)", xscale="log", ylim=(0, None))
        places = sorted(set(frame["x"]))
        axis.set_xticks(places, [f"{100 * place:g}" for place in places])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(title, loc="left")
    handles = [Line2D([], [], color=palette[m], marker=markers[m], label=NAMES[m]) for m in methods]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_model() -> Figure:
    """TransRec as a diagram: content, item encoder, item vectors, user encoder, score; adapters in colour."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    figure, axis = plt.subplots(figsize=(6.8, 4.6), layout="constrained")
    axis.set(xlim=(0, 10), ylim=(0, 7.6))
    axis.axis("off")

    def box(
        x: float, y: float, w: float, h: float, text: str, color: str = "white", size: float = 11
    ) -> None:
        axis.add_patch(
            FancyBboxPatch(
                (x, y), w, h, boxstyle="round,pad=0.03,rounding_size=0.1", fc=color, ec="0.3", lw=1.2
            )
        )
        axis.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=size, color="black")

    def arrow(x0: float, y0: float, x1: float, y1: float) -> None:
        axis.add_patch(
            FancyArrowPatch((x0, y0), (x1, y1), arrowstyle="-|>", mutation_scale=12, color="0.3", lw=1.2)
        )

    warm, cool = "#f6d9b8", "#dbe7f3"
    for i, x in enumerate((0.2, 2.0, 3.8)):
        box(x, 0.1, 1.5, 0.7, f"item {i + 1}\ntitle or picture", size=9)
        arrow(x + 0.75, 0.85, x + 0.75, 1.3)
        arrow(x + 0.75, 3.45, x + 0.75, 3.75)
        box(x + 0.3, 3.8, 0.9, 0.5, f"$v_{i + 1}$")
        arrow(x + 0.75, 4.35, x + 0.75, 4.75)
    box(0.2, 1.35, 5.1, 2.05, "", cool)
    axis.text(2.75, 3.12, "item encoder: backbone + head", ha="center", fontsize=11)
    for k, name in enumerate(("attention", "adapter", "feed-forward", "adapter")):
        box(0.4 + 1.22 * k, 1.95, 1.08, 0.7, name, warm if name == "adapter" else "white", 8)
    axis.text(2.75, 1.6, "in each layer", ha="center", fontsize=9, color="0.3")
    box(0.2, 4.8, 5.1, 1.2, "user encoder: causal transformer\n(adapters in each block as well)", cool)
    arrow(4.55, 6.05, 4.55, 6.45)
    box(4.1, 6.5, 0.9, 0.5, "$u_3$")
    box(6.6, 3.8, 0.9, 0.5, "$v_i$")
    axis.text(7.05, 3.3, "any item of the\ncatalogue, encoded once", ha="center", va="top", fontsize=9)
    arrow(5.05, 6.75, 7.1, 6.75)
    arrow(7.05, 4.35, 8.0, 6.45)
    box(7.2, 6.45, 2.4, 0.6, "score $u_3\\cdot v_i$", warm)
    return figure
