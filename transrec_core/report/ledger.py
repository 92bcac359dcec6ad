"""Tables of what was filtered, tuned, planned, run and repeated; none of them compares anything."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from transrec_core.report.evidence import Evidence, left_out
from transrec_core.report.names import method_name, variant_name
from transrec_core.report.repeats import read_repeats
from transrec_core.study.profile import Cell
from transrec_core.study.record import Record
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


def run_table(evidence: Evidence) -> pd.DataFrame:
    """One row for each question and cell: runs that are recorded, of those that were planned, and what is
    not run.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in evidence.plan:
        row = rows.setdefault(
            (entry.question, entry.cell.name),
            {
                "question": entry.question,
                "cell": entry.cell.content,
                "planned": 0,
                "recorded": 0,
                "not run": [],
            },
        )
        left = left_out(entry, evidence.recorded)
        row["planned"] += len(entry.seeds)
        row["recorded"] += len(entry.seeds) - len(left)
        if left:
            part = "" if len(left) == len(entry.seeds) else f" (seeds {', '.join(map(str, left))})"
            row["not run"].append(variant_name(entry.variant) + part)
    return pd.DataFrame([{**row, "not run": _not_run(row)} for row in rows.values()])


def _not_run(row: Mapping[str, Any]) -> str:
    if not row["recorded"]:
        return "nothing of it was run"
    return ", ".join(dict.fromkeys(row["not run"])) or "–"


def step_size_table(cells: Iterable[Cell]) -> pd.DataFrame:
    """What was chosen from which step sizes: validation NDCG@10 (%) of the tuning seed for each, the
    choice in brackets.
    """
    rows = []
    for cell in cells:
        for method, entry in step_sizes().get(cell.name, {}).items():
            figures, chosen = entry["valid NDCG@10"], entry["chosen"]
            tried = [
                f"[{lr:g}: {100 * v:.1f}]" if lr == chosen else f"{lr:g}: {100 * v:.1f}"
                for lr, v in figures.items()
            ]
            edge = chosen in (min(figures), max(figures))
            rows.append(
                {
                    "cell": cell.title,
                    "method": method_name(method),
                    "step size: valid NDCG@10 (%)": ", ".join(tried),
                    "choice": "at the end of the grid" if edge else "inside",
                }
            )
    return pd.DataFrame(rows)


def filters_table(path: Path) -> pd.DataFrame:
    """What each filter left of each data set; pairs share the rows of a common part.

    Args:
        path: what ``transrec pack`` wrote; the table is empty without it.
    """
    pairs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    users_of: dict[str, list[str]] = {}
    for pair, parts in pairs.items():
        for part, effects in parts.items():
            users_of.setdefault(json.dumps([part, effects]), []).append(pair)
    rows: list[dict[str, Any]] = []
    for key, names in users_of.items():
        part, effects = json.loads(key)
        for step in effects["steps"]:
            counts = {name: f"{step[name]:,}" for name in ("users", "items", "interactions")}
            place = {"pairs": ", ".join(names), "part": f"{part}: {effects['folder']}"}
            rows.append({**place, "filter": step["filter"], **counts})
    return pd.DataFrame(rows)


def targets_table(path: Path) -> pd.DataFrame:
    """Test targets of each pair: how many, cold ones, and those that share their title.

    Args:
        path: as of :func:`filters_table`.
    """
    pairs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = []
    for pair, parts in pairs.items():
        target = parts["target"]
        n, cold, twins = (target[key] for key in ("targets", "cold targets", "targets with another's title"))
        rows.append(
            {
                "pair": pair,
                "items": f"{target['steps'][-1]['items']:,}",
                "test targets": f"{n:,}",
                "cold": f"{cold:,}",
                "cold (%)": f"{100 * cold / n:.1f}",
                "title of another item, too (%)": f"{100 * twins / n:.1f}",
            }
        )
    return pd.DataFrame(rows)


def repeats_table(path: Path) -> pd.DataFrame:
    """What :func:`transrec_core.report.repeats.add_repeat` wrote; empty without it."""
    return pd.DataFrame(
        [
            {
                "id": r["id"],
                "what": f"{method_name(r['method'])}, seed {r['seed']}, {r['target']}",
                "recorded HR@10 (%) [95 %]": f"{r['recorded']:.2f} [{r['low']:.2f}, {r['high']:.2f}]",
                "again (%)": f"{r['again']:.2f}",
                "ranks of all test cases": "equal" if r["equal ranks"] else "differ",
                "agrees": "yes" if r["agrees"] else "no",
            }
            for r in read_repeats(path)
        ]
    )
