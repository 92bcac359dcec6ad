"""The interactive scatter over all compared variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from transrec_core.report.comparisons import Runs
from transrec_core.report.names import full_name
from transrec_core.study.profile import Cell
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


def explorer_frame(runs: Runs) -> pd.DataFrame:
    """Rows of :func:`explorer` from the runs of a cell; what trains nothing has none."""
    rows = []
    for variant, records in runs.items():
        facts = [r.facts for r in records]
        if not facts[0].get("trainable_parameters"):
            continue
        spec = records[0].spec
        metrics = {
            f"{name} (%)": 100 * float(np.mean([r.metrics[name] for r in records]))
            for name in ("HR@10", "NDCG@10")
        }
        means = {
            heading: float(np.mean([f[key] for f in facts]))
            for heading, key in (
                ("trained parameters", "trainable_parameters"),
                ("training (s)", "train_seconds"),
                ("peak memory (MiB)", "peak_memory_mb"),
                ("best step", "best_step"),
            )
        }
        shares = {
            "target users": round(WorldConfig().target_users * spec.target.share),
            "source share (%)": 100 * spec.source.data.share,
        }
        name = full_name(variant)
        rows.append({"name": name, "seeds": len(records), **metrics, **means, **shares})
    return pd.DataFrame(rows)


def explorer_frames(questions: Mapping[str, Mapping[Cell, Runs]]) -> dict[str, pd.DataFrame]:
    """:func:`explorer_frame` of each cell of several questions, by title; empty ones are left out."""
    frames = {
        f"{name.upper()}: {cell.title.replace(' objective', '')}": explorer_frame(runs)
        for name, cells in questions.items()
        for cell, runs in cells.items()
    }
    return {title: frame for title, frame in frames.items() if len(frame)}


def explorer_html(frames: Mapping[str, pd.DataFrame]) -> str:
    """:func:`explorer` as HTML that needs nothing from elsewhere."""
    options = {"responsive": True, "displaylogo": False}
    page = explorer(frames).to_html(full_html=False, include_plotlyjs=True, config=options)
    return f'<div class="explorer">{page}</div>'
