"""Figures of comparisons and curves; nothing here computes a result of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullFormatter

from transrec_core.report.comparisons import pareto
from transrec_core.report.crossed import CrossedPoint
from transrec_core.report.curves import Point
from transrec_core.report.estimates import Comparison, Estimate, Verdict
from transrec_core.report.names import in_order, method_name, variant_name
from transrec_core.study.profile import Cell

#: How the levels of two controls are drawn across.
CONTROL_LINES = {"oracle": ":", "popularity": "--"}


def plot_pareto(cells: Mapping[str, Sequence[Comparison]]) -> Figure:
    """Quality against trained parameters, methods named at their points, the Pareto set joined by a line.

    Args:
        cells: comparisons by title, an axis each.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(cells), 1, figsize=(6.4, 5.2 * len(cells)), squeeze=False, layout="constrained"
    )
    for (title, compared), axis in zip(cells.items(), axes[:, 0], strict=True):
        front = pareto(compared)
        axis.plot(
            [c.costs.trained for c in front],
            [100 * c.quality.mean for c in front],
            color="C0",
            lw=1.2,
            alpha=0.7,
            zorder=1,
            drawstyle="steps-post",
        )
        for c in compared:
            color = "C0" if c in front else "0.35"
            axis.errorbar(
                c.costs.trained, 100 * c.quality.mean, _bars([c.quality]), fmt="o", color=color, ms=6, lw=1.2
            )
        axis.set(xlabel="trained parameters, head included", ylabel="HR@10 (%)", xscale="log")
        axis.set_title(title, loc="left")
        trained = [c.costs.trained for c in compared]
        axis.set_xlim(min(trained) * 0.72, max(trained) * 1.7)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        _name_points(axis, compared, front)
    return figure


def _bars(shares: Sequence[Estimate]) -> list[list[float]]:
    # Lengths of error bars down and up, in percent.
    return [
        [100 * share.mean - 100 * share.low for share in shares],
        [100 * share.high - 100 * share.mean for share in shares],
    ]


def _name_points(axis: Any, compared: Sequence[Comparison], front: Sequence[Comparison]) -> None:
    # Names stand right or left of their points; each takes the free place that is nearest to its point.
    axis.figure.canvas.draw()
    place = axis.transData.transform
    taken = [(*place((c.costs.trained, 100 * c.quality.mean)), 9.0, 9.0) for c in compared]
    size, dpi = 10.5, axis.figure.dpi
    for c in sorted(compared, key=lambda c: -c.quality.mean):
        point = (c.costs.trained, 100 * c.quality.mean)
        x, y = place(point)
        text = method_name(c.method)
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
        weight = "bold" if c in front else "normal"
        axis.annotate(
            text,
            point,
            (dx * 72 / dpi, dy * 72 / dpi),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=size,
            weight=weight,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _palette(methods: Sequence[str]) -> dict[str, Any]:
    import seaborn as sns

    return dict(zip(methods, sns.color_palette("colorblind", len(methods)), strict=True))


def plot_costs(cells: Mapping[Cell, Sequence[Comparison]]) -> Figure:
    """Quality against trained parameters (left) and training time (right), a row of axes for each cell."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    methods = in_order(c.method for compared in cells.values() for c in compared if c.costs.trained > 0)
    palette = _palette(methods)
    figure, axes = plt.subplots(
        len(cells), 2, figsize=(6.4, 3.1 * len(cells)), squeeze=False, sharey="row", layout="constrained"
    )
    for (cell, compared), row in zip(cells.items(), axes, strict=True):
        points = [c for c in compared if not np.isnan(c.costs.seconds)]
        row[0].set_title(cell.title, loc="left")
        for axis, cost, label in (
            (row[0], "trained", "trained parameters"),
            (row[1], "seconds", "training time (s)"),
        ):
            x = [getattr(c.costs, cost) for c in points]
            sns.scatterplot(
                x=x,
                y=[100 * c.quality.mean for c in points],
                hue=[c.method for c in points],
                palette=palette,
                s=70,
                legend=False,
                ax=axis,
            )
            for place, c in zip(x, points, strict=True):
                axis.vlines(place, 100 * c.quality.low, 100 * c.quality.high, color=palette[c.method], lw=1.5)
            for c in compared:
                if c.method in CONTROL_LINES:
                    axis.axhline(100 * c.quality.mean, color="0.45", ls=CONTROL_LINES[c.method], lw=1.2)
            axis.set(xlabel=label, ylabel="HR@10 (%)", ylim=(0, None))
        row[0].set_xscale("log")
        row[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        row[0].xaxis.set_minor_formatter(NullFormatter())
        row[1].set_xlim(0, None)
    handles = [Line2D([], [], marker="o", ls="", color=palette[m], label=method_name(m)) for m in methods] + [
        Line2D([], [], color="0.45", ls=line, label=name) for name, line in CONTROL_LINES.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


#: Colours of verdicts, told apart by people who see few colours as well.
VERDICTS = {Verdict.BETTER: "C0", Verdict.COMPARABLE: "C2", Verdict.WORSE: "C3", Verdict.UNDECIDED: "0.45"}


def plot_forest(cells: Mapping[str, Sequence[Comparison]]) -> Figure:
    """Differences of variants to their reference with intervals, and the margin as a band.

    Args:
        cells: comparisons by title, an axis each.
    """
    import matplotlib.pyplot as plt

    shown = {
        title: [c for c in compared if c.difference is not None][::-1] for title, compared in cells.items()
    }
    heights = [0.42 * len(changes) + 1.3 for changes in shown.values()]
    figure, axes = plt.subplots(
        len(shown), 1, figsize=(6.4, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for (title, changes), axis in zip(shown.items(), axes[:, 0], strict=True):
        margin = 100 * changes[0].margin
        axis.axvspan(-margin, margin, color="0.9", zorder=0)
        axis.axvline(0, color="0.4", lw=1)
        for y, c in enumerate(changes):
            color = VERDICTS[c.verdict]
            axis.plot([100 * c.gap.low, 100 * c.gap.high], [y, y], color=color, lw=2)
            axis.plot(100 * c.gap.mean, y, "o", color=color, ms=6)
        axis.set_yticks(range(len(changes)), [variant_name(c.variant) for c in changes], fontsize=11)
        axis.set(xlabel="HR@10 minus base point (points)", ylim=(-0.7, len(changes) - 0.3))
        axis.set_title(title, loc="left", x=-0.6)
        axis.grid(axis="y", visible=False)
    handles = [Line2D([], [], color=color, marker="o", label=str(word)) for word, color in VERDICTS.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def plot_crossed(points: Sequence[CrossedPoint], title: str) -> Figure:
    """Quality by size for each position (a panel) and form (a line)."""
    import matplotlib.pyplot as plt

    positions = list(dict.fromkeys(p.position for p in points))
    sizes = sorted({p.size for p in points})
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
            line = [p for p in points if p.position == position and p.form == form]
            aside = 0.96 if form == "serial" else 1.04  # side by side
            axis.errorbar(
                [p.size * aside for p in line],
                [100 * p.quality.mean for p in line],
                _bars([p.quality for p in line]),
                color=color,
                marker=marker,
                lw=1.5,
                label=form,
            )
        axis.set(ylabel="HR@10 (%)", xscale="log")
        axis.set_title(position, loc="left")
        axis.set_xticks(sizes, [f"{size}" for size in sizes])
        axis.xaxis.set_minor_formatter(NullFormatter())
    axes[-1, 0].set_xlabel("bottleneck size in the item encoder (half in the user encoder)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=13)
    return figure


def plot_curves(
    curves: Mapping[str, Sequence[Point]], xlabel: str, lines: Mapping[str, Mapping[str, float]] | None = None
) -> Figure:
    """Quality along a share of the users, with 95 % intervals.

    Args:
        curves: points by title, an axis each.
        xlabel: what the share is of.
        lines: levels (shares) to draw across, by title and name, two at most.
    """
    import matplotlib.pyplot as plt

    methods = in_order(p.method for points in curves.values() for p in points)
    palette = _palette(methods)
    markers = dict(zip(methods, "osD^vPX*" * 2, strict=False))
    figure, axes = plt.subplots(
        len(curves), 1, figsize=(6.4, 3.9 * len(curves)), squeeze=False, layout="constrained"
    )
    for (title, points), axis in zip(curves.items(), axes[:, 0], strict=True):
        for number, method in enumerate(methods):
            line = [p for p in points if p.method == method]
            axis.errorbar(
                [p.place * 1.03 ** (number - len(methods) / 2) for p in line],  # side by side
                [100 * p.quality.mean for p in line],
                _bars([p.quality for p in line]),
                color=palette[method],
                marker=markers[method],
                lw=1.5,
            )
        for dashes, (name, level) in zip(("--", ":"), (lines or {}).get(title, {}).items(), strict=False):
            axis.axhline(100 * level, color="0.45", ls=dashes, lw=1.2)
            place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
            axis.annotate(name, (1, 100 * level), fontsize=11, color="0.3", **place)
        axis.set(xlabel=xlabel, ylabel="HR@10 (%)", xscale="log", ylim=(0, None))
        places = sorted({p.place for p in points})
        axis.set_xticks(places, [f"{100 * place:g}" for place in places])
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_title(title, loc="left")
    handles = [Line2D([], [], color=palette[m], marker=markers[m], label=method_name(m)) for m in methods]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure
