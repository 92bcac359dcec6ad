"""Tables and figures from records; nothing here computes a result of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, NullFormatter
from scipy.stats import norm

from transrec_core.adapters import METHODS
from transrec_core.grids import Cell, step_sizes
from transrec_core.statistics import RELATIVE_MARGIN, hits, interval, paired_difference, verdict
from transrec_core.store import Record
from transrec_core.study import ranks_by_seed

#: Names in tables and figures, in the order of tables.
NAMES = {
    "oracle": "oracle", "full": "full fine-tuning", "houlsby": "Houlsby", "pfeiffer": "Pfeiffer", "parallel": "parallel", "compacter": "Compacter",
    "lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA", "prompt": "prompt", "prefix": "prefix", "k_adapter": "K-Adapter", "ia3": "(IA)³",
    "bitfit": "BitFit", "layernorm": "LayerNorm", "side": "side network", "head": "head only",
    "frozen": "frozen", "scratch": "no source", "item_id": "item-ID SASRec", "popularity": "popularity",
    "untrained": "untrained network",
}  # fmt: skip


def records_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row a record: what it was, what it reached, what it cost."""
    rows = [
        {
            "id": r.id, "target": r.spec.target.folder, "modality": r.spec.target.modality, "titles": r.spec.target.titles,
            "objective": r.spec.model.objective, "method": r.spec.method, "seed": r.spec.seed, "HR@10 (%)": round(100 * r.metrics["HR@10"], 2),
            "NDCG@10 (%)": round(100 * r.metrics["NDCG@10"], 2), "trained": r.facts.get("trainable_parameters", 0),
            "seconds": round(r.facts.get("train_seconds", 0.0), 1), "best step": r.facts.get("best_step"),
        }
        for r in records
    ]  # fmt: skip
    return pd.DataFrame(rows)


def by_method(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records of one comparison by method, in the order of :data:`NAMES`, unknown methods last."""
    order = list(NAMES)
    methods = sorted({r.spec.method for r in records}, key=lambda m: (order.index(m) if m in order else len(order), m))
    return {m: [r for r in records if r.spec.method == m] for m in methods}


def summary(records: Sequence[Record], k: int = 10, reference: str = "full") -> pd.DataFrame:
    """One comparison (same data, objective and users) as a table: quality with interval, difference to the reference, verdict, costs.

    Args:
        records: runs of several methods and seeds. k: cut-off of HR@K. reference: the method that others are compared with.

    Returns:
        One row a method; quality in percent, differences in points, parameters as counts, times in seconds, memory in MiB.
    """
    groups = by_method(records)
    base = hits(ranks_by_seed(groups[reference]), k)
    margin = RELATIVE_MARGIN * float(base.mean())
    rows = []
    for name, group in groups.items():
        values = hits(ranks_by_seed(group), k)
        quality = interval(values)
        row = {
            "method": name, "seeds": len(group), "quality": 100 * quality.mean, "low": 100 * quality.low, "high": 100 * quality.high,
            "difference": np.nan, "difference low": np.nan, "difference high": np.nan, "verdict": "reference",
            "trained": _mean(group, "trainable_parameters"), "total": _mean(group, "total_parameters"),
            "seconds": _mean(group, "train_seconds"), "memory": _mean(group, "peak_memory_mb"),
        }  # fmt: skip
        if name != reference:
            d = paired_difference(values, base)
            row |= {"difference": 100 * d.mean, "difference low": 100 * d.low, "difference high": 100 * d.high, "verdict": verdict(d, margin)}
        rows.append(row)
    return pd.DataFrame(rows)


def step_size_table(cells: Iterable[Cell]) -> pd.DataFrame:
    """What was chosen from which step sizes: validation NDCG@10 (%) of the tuning seed for each, the choice in brackets."""
    rows = []
    for cell in cells:
        for method, entry in step_sizes().get(cell.name, {}).items():
            figures = entry["valid NDCG@10"]
            tried = [f"[{lr:g}: {100 * v:.1f}]" if lr == entry["chosen"] else f"{lr:g}: {100 * v:.1f}" for lr, v in figures.items()]
            edge = entry["chosen"] in (min(figures), max(figures))
            rows.append({
                "cell": cell.title, "method": NAMES.get(method, method), "step size: valid NDCG@10 (%)": ", ".join(tried),
                "choice": "at the end of the grid" if edge else "inside",
            })  # fmt: skip
    return pd.DataFrame(rows)


def _mean(group: Sequence[Record], key: str) -> float:
    values = [r.facts[key] for r in group if key in r.facts]
    return float(np.mean(values)) if values else float("nan")


def table(summary_frame: pd.DataFrame, k: int = 10) -> pd.DataFrame:
    """The readable form of :func:`summary`: strings with units in the headings."""

    def span(mean: float, low: float, high: float, sign: str = "") -> str:
        return "" if np.isnan(mean) else f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"

    def number(value: float, digits: int = 0) -> str:
        return "–" if np.isnan(value) else f"{value:,.{digits}f}"

    s = summary_frame
    return pd.DataFrame({
        "method": [NAMES.get(m, m) for m in s["method"]],
        f"HR@{k} (%) [95 %]": [span(*v) for v in zip(s["quality"], s["low"], s["high"], strict=True)],
        "minus full (points) [95 %]": [
            span(*v, "+") for v in zip(s["difference"], s["difference low"], s["difference high"], strict=True)
        ],
        "verdict": s["verdict"],
        "trained parameters": [number(v) for v in s["trained"]],
        "training (s)": [number(v, 1) for v in s["seconds"]],
        "memory (MiB)": [number(v) for v in s["memory"]],
    })  # fmt: skip


def sentences(summaries: Mapping[Cell, pd.DataFrame], reference: str = "full") -> list[str]:
    """The verdicts in words, one line (a Markdown list item) for each cell."""
    lines = []
    for cell, frame in summaries.items():
        rows = frame.set_index("method")
        parts = []
        for name in [m for m in (*METHODS, "head") if m in rows.index]:
            row = rows.loc[name]
            share = row["trained"] / rows.loc[reference, "trained"]
            parts.append(
                f"{NAMES.get(name, name)} is **{row['verdict']}** ({row['difference']:+.1f} points "
                f"[{row['difference low']:+.1f}, {row['difference high']:+.1f}], {100 * share:.0f} % of the trained parameters)"
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

    Intervals are simultaneous (Bonferroni over the other adapters, from the bootstrap's width by the normal quantile).

    Returns:
        One row an adapter, best first: "method", "difference" to the best in points with "low" and "high", and "in group".
    """
    groups = {m: found for m, found in by_method(records).items() if m in METHODS}
    values = {m: hits(ranks_by_seed(found), k) for m, found in groups.items()}
    order = sorted(values, key=lambda m: -float(values[m].mean()))
    z = float(norm.ppf(1 - 0.05 / (2 * max(1, len(order) - 1))))
    rows = [{"method": order[0], "difference": 0.0, "low": 0.0, "high": 0.0, "in group": True}]
    for method in order[1:]:
        d = paired_difference(values[method], values[order[0]])
        half = z * (d.high - d.low) / (2 * norm.ppf(0.975))
        rows.append({"method": method, "difference": 100 * d.mean, "low": 100 * (d.mean - half), "high": 100 * (d.mean + half),
                     "in group": d.mean + half >= 0})  # fmt: skip
    return pd.DataFrame(rows)


def pareto(frame: pd.DataFrame, cost: str = "trained", quality: str = "quality") -> list[str]:
    """Methods that train something and have no other with at most their cost and more quality, cheapest first."""
    rows = frame[frame["trained"] > 0].sort_values([cost, quality], ascending=[True, False])
    best, found = -np.inf, []
    for row in rows.itertuples():
        if getattr(row, quality) > best:
            best = getattr(row, quality)
            found.append(str(row.method))
    return found


def plot_pareto(frames: Mapping[str, pd.DataFrame], methods: Sequence[str]) -> Figure:
    """Quality against trained parameters for each frame (by title), methods named at their points, the Pareto set joined by a line."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(frames), 1, figsize=(6.4, 5.2 * len(frames)), squeeze=False, layout="constrained")
    for (title, frame), axis in zip(frames.items(), axes[:, 0], strict=True):
        points = frame[frame["method"].isin(methods)].set_index("method")
        front = pareto(frame[frame["method"].isin(methods)])
        axis.plot(points.loc[front, "trained"], points.loc[front, "quality"], color="C0", lw=1.2, alpha=0.7, zorder=1, drawstyle="steps-post")
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
        options = [(side * (width / 2 + 8), shift) for shift in sorted(np.arange(-6, 7) * height / 2, key=abs) for side in (1, -1)]
        free = [
            (dx, dy) for dx, dy in options
            if all(abs(x + dx - ox) > (width + ow) / 2 or abs(y + dy - oy) > (height + oh) / 2 for ox, oy, ow, oh in taken)
            and axis.bbox.x0 < x + dx - width / 2 and x + dx + width / 2 < axis.bbox.x1
        ]  # fmt: skip
        dx, dy = (free or options)[0]
        taken.append((x + dx, y + dy, width, height))
        weight = "bold" if name in front else "normal"
        axis.annotate(
            text, (point["trained"], point["quality"]), (dx * 72 / dpi, dy * 72 / dpi), textcoords="offset points", ha="center", va="center",
            fontsize=size, weight=weight, path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip


def cost_table(frame: pd.DataFrame, costs: pd.DataFrame, sizes: Mapping[str, int]) -> pd.DataFrame:
    """What methods cost beside what they reach, in the order of :data:`NAMES`.

    Args:
        frame: of :func:`summary`. costs: of :func:`transrec_core.costs.measure`. sizes: bytes that a method's trained weights take on disk.
    """
    found = frame.set_index("method")
    share = 100 * found["trained"] / found.loc["full", "trained"]
    step = costs.set_index("method")
    reference = step.loc["full", "seconds"]
    return pd.DataFrame([
        {
            "method": NAMES.get(m, m),
            "HR@10 (%) [95 %]": f"{found.loc[m, 'quality']:.1f} [{found.loc[m, 'low']:.1f}, {found.loc[m, 'high']:.1f}]",
            "trained parameters": f"{found.loc[m, 'trained']:,.0f}", "of full (%)": f"{share[m]:.1f}",
            "step (ms)": f"{1000 * step.loc[m, 'seconds']:.1f}", "step / full": f"{step.loc[m, 'seconds'] / reference:.2f}",
            "kept by a step (MiB)": f"{step.loc[m, 'memory']:.1f}", "on disk (KiB)": f"{sizes[m] / 1024:,.0f}",
        }
        for m in NAMES if m in step.index and m in found.index
    ])  # fmt: skip


def plot_costs(summaries: Mapping[Cell, pd.DataFrame]) -> Figure:
    """Quality against trained parameters (left) and training time (right), a row of axes for each cell."""
    import matplotlib.pyplot as plt
    import seaborn as sns

    methods = [m for m in NAMES if any((f["method"] == m).any() and f.loc[f["method"] == m, "trained"].gt(0).any() for f in summaries.values())]
    palette = dict(zip(methods, sns.color_palette("colorblind", len(methods)), strict=True))
    figure, axes = plt.subplots(len(summaries), 2, figsize=(6.4, 3.1 * len(summaries)), squeeze=False, sharey="row", layout="constrained")
    for (cell, frame), row in zip(summaries.items(), axes, strict=True):
        points = frame[frame["seconds"].notna()]
        row[0].set_title(cell.title, loc="left")
        for axis, (column, label) in zip(row, (("trained", "trained parameters"), ("seconds", "training time (s)")), strict=True):
            sns.scatterplot(points, x=column, y="quality", hue="method", palette=palette, s=70, legend=False, ax=axis)
            for point in points.itertuples():
                axis.vlines(getattr(point, column), point.low, point.high, color=palette[point.method], lw=1.5)
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
    handles += [Line2D([], [], color="0.45", ls=":", label="oracle"), Line2D([], [], color="0.45", ls="--", label="popularity")]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


def draw_model() -> Figure:
    """TransRec as a diagram: content, item encoder, item vectors, user encoder, score; adapters in colour."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    figure, axis = plt.subplots(figsize=(6.8, 4.6), layout="constrained")
    axis.set(xlim=(0, 10), ylim=(0, 7.6))
    axis.axis("off")

    def box(x: float, y: float, w: float, h: float, text: str, color: str = "white", size: float = 11) -> None:
        axis.add_patch(FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0.03,rounding_size=0.1", fc=color, ec="0.3", lw=1.2))
        axis.text(x + w / 2, y + h / 2, text, ha="center", va="center", fontsize=size, color="black")

    def arrow(x0: float, y0: float, x1: float, y1: float) -> None:
        axis.add_patch(FancyArrowPatch((x0, y0), (x1, y1), arrowstyle="-|>", mutation_scale=12, color="0.3", lw=1.2))

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
