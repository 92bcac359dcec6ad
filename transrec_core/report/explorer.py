"""The interactive scatter over all compared variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from transrec_core.report.names import NAMES
from transrec_core.report.variants import WORDS, Groups
from transrec_core.world.config import WorldConfig


def explorer(frames: Mapping[str, pd.DataFrame]) -> Any:
    """An interactive scatter over all compared variants, axes to be picked, as a plotly figure; a trace for
    each title.

    Args:
        frames: rows with "name" and one column for each of the axes below.
    """
    import plotly.graph_objects as go

    axes = {
        "HR@10 (%)": False,
        "NDCG@10 (%)": False,
        "trained parameters": True,
        "training (s)": False,
        "peak memory (MiB)": False,
        "best step": False,
        "target users": True,
        "source share (%)": True,
    }
    figure = go.Figure()
    for title, frame in frames.items():
        hover = [
            f"{n}<br>HR@10 {q:.1f} %, {s} seeds"
            for n, q, s in zip(frame["name"], frame["HR@10 (%)"], frame["seeds"], strict=True)
        ]
        x, y = frame["trained parameters"], frame["HR@10 (%)"]
        figure.add_scatter(
            x=x, y=y, mode="markers", name=title, text=hover, hoverinfo="text", marker={"size": 8}
        )

    def menu(axis: str, x: float, first: str) -> dict[str, Any]:
        buttons = [
            {
                "label": f"{axis}: {name}",
                "method": "update",
                "args": [
                    {axis: [frame[name] for frame in frames.values()]},
                    {f"{axis}axis.title.text": name, f"{axis}axis.type": "log" if log else "linear"},
                ],
            }
            for name, log in axes.items()
        ]
        return {
            "buttons": buttons,
            "active": list(axes).index(first),
            "x": x,
            "xanchor": "left",
            "y": 1.0,
            "yanchor": "bottom",
            "pad": {"b": 8},
        }

    figure.update_layout(
        updatemenus=[menu("x", 0.0, "trained parameters"), {**menu("y", 0.0, "HR@10 (%)"), "pad": {"b": 46}}],
        xaxis={"title": {"text": "trained parameters"}, "type": "log"},
        yaxis={"title": {"text": "HR@10 (%)"}},
        template="plotly_white",
        height=620,
        legend={"orientation": "h", "yanchor": "top", "y": -0.18},
        margin={"l": 50, "r": 10, "t": 100, "b": 40},
        font={"size": 13},
    )
    return figure


def explorer_frame(found: Groups) -> pd.DataFrame:
    """Rows of :func:`explorer` from a cell's records."""
    rows = []
    for variant, records in found.items():
        facts = [r.facts for r in records]
        if "trainable_parameters" not in facts[0] or not facts[0]["trainable_parameters"]:
            continue
        spec = records[0].spec

        def mean(key: str, facts: list[dict[str, Any]] = facts) -> float:
            return float(np.mean([f[key] for f in facts]))

        rows.append(
            {
                "name": NAMES.get(variant.method, variant.method)
                + "".join(f", {WORDS.get(f, f)}: {WORDS.get(v, v)}" for f, v in variant.levels),
                "seeds": len(records),
                "HR@10 (%)": 100 * float(np.mean([r.metrics["HR@10"] for r in records])),
                "NDCG@10 (%)": 100 * float(np.mean([r.metrics["NDCG@10"] for r in records])),
                "trained parameters": mean("trainable_parameters"),
                "training (s)": mean("train_seconds"),
                "peak memory (MiB)": mean("peak_memory_mb"),
                "best step": mean("best_step"),
                "target users": round(WorldConfig().target_users * spec.target.share),
                "source share (%)": 100 * spec.source.data.share,
            }
        )
    return pd.DataFrame(rows)
