"""The study on real data as far as it is recorded, and beside the embedded world: what was run, what it
says, where the two disagree.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.evaluation.statistics import hits, interval, paired_difference, verdict
from transrec_core.report.cold import cold_cases, cold_difference, split_frame
from transrec_core.report.names import NAMES
from transrec_core.report.tables import summary
from transrec_core.report.variants import Groups, groups, run_ids, said
from transrec_core.study.grids import planned
from transrec_core.study.profile import Cell, Profile, Variant
from transrec_core.study.record import Record, ranks_by_seed
from transrec_core.study.specs import TRAINED
from transrec_core.study.store import Store

FULL, HOULSBY = Variant("full"), Variant("houlsby")
#: Seeds that a verdict needs (see book/protocol_real.md).
ENOUGH = 3


class Evidence(NamedTuple):
    """What a store holds of a profile.

    Attributes:
        found: complete variants by question and cell.
        plan: (question, cell, variant, ids of its runs by seed, or none if it was not tuned) of everything
            that was planned.
        recorded: ids of the runs that are there.
    """

    found: dict[str, dict[Cell, Groups]]
    plan: list[tuple[str, Cell, Variant, dict[int, str]]]
    recorded: set[str]

    def cells(self, kind: str) -> list[tuple[Cell, Groups]]:
        """Cells of the questions whose names begin with ``kind`` that can be compared, in order of worth:
        full fine-tuning is recorded, and something besides that no earlier question has (it would only
        be shown again, with fewer seeds).
        """
        chosen: list[tuple[Cell, Groups]] = []
        seen: set[tuple[str, Variant]] = set()
        for name, cells in self.found.items():
            for cell, g in cells.items():
                own = {(cell.name, variant) for variant in g}
                if name.startswith(kind) and FULL in g and len(own - seen - {(cell.name, FULL)}):
                    chosen.append((cell, g))
                seen |= own
        return chosen


def gather(profile: Profile, store: Store) -> Evidence:
    """Reads what there is; a store without anything gives empty groups."""
    found: dict[str, dict[Cell, Groups]] = {}
    plan = []
    for name, question in profile.questions.items():
        found[name] = {
            cell: groups(profile, cell, question.seeds, store, partial=True)[0] for cell in question.cells
        }
        for cell in question.cells:
            plan += [
                (name, cell, v, run_ids(profile, cell, v, seeds))
                for v, seeds in planned(profile, cell, question.seeds).items()
            ]
    wanted = {run_id for *_, ids in plan for run_id in ids.values()}
    return Evidence(found, plan, {run_id for run_id in wanted if store.has(run_id)})


def run_table(profile: Profile, evidence: Evidence) -> pd.DataFrame:
    """One row for each question and cell: runs that are recorded, of those that were planned, and what is
    not run.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name, cell, variant, ids in evidence.plan:
        seeds = planned(profile, cell, profile.question(name).seeds)[variant]
        row = rows.setdefault(
            (name, cell.name),
            {"question": name, "cell": cell.content, "planned": 0, "recorded": 0, "not run": []},
        )
        left = [seed for seed in seeds if ids.get(seed) not in evidence.recorded]
        row["planned"] += len(seeds)
        row["recorded"] += len(seeds) - len(left)
        if left:
            which = "" if len(left) == len(seeds) else f" (seeds {', '.join(map(str, left))})"
            row["not run"].append(
                (said(variant) if variant.levels else NAMES.get(variant.method, variant.method)) + which
            )
    return pd.DataFrame([{**row, "not run": _all_or(row)} for row in rows.values()])


def _all_or(row: Mapping[str, Any]) -> str:
    return "nothing of it was run" if not row["recorded"] else ", ".join(dict.fromkeys(row["not run"])) or "–"


def methods_frame(found: Groups) -> pd.DataFrame:
    """Methods and controls of a cell against full fine-tuning, see
    :func:`transrec_core.report.tables.summary`; too few seeds give no verdict.
    """
    records = [r for variant, runs in found.items() if not variant.levels for r in runs]
    frame = summary(records)
    trained = {variant.method for variant, runs in found.items() if runs[0].spec.strategy in TRAINED}
    return judged(frame, frame["method"].isin(trained))


def judged(frame: pd.DataFrame, trained: pd.Series | bool = True) -> pd.DataFrame:
    # A verdict needs enough seeds of what trains, on both sides.
    few = (frame["seeds"] < ENOUGH) & trained | (
        frame.loc[frame["verdict"] == "reference", "seeds"].iloc[0] < ENOUGH
    )
    return frame.assign(
        verdict=frame["verdict"].mask(few & (frame["verdict"] != "reference"), "too few seeds")
    )


def notes(found: Groups) -> dict[str, str]:
    """Methods of a cell by what is to be noticed: "above" popularity (the 95 % interval of the difference
    is above zero), "below" (no higher mean than popularity), "late" (best state the last one), "flat"
    (the first one).
    """
    own = {NAMES.get(v.method, v.method): runs for v, runs in found.items() if not v.levels}
    mean = {name: float(np.mean([r.metrics["HR@10"] for r in runs])) for name, runs in own.items()}
    trained = {name: runs for name, runs in own.items() if runs[0].spec.strategy in TRAINED}
    popular = mean.get("popularity")
    higher = []
    if base := found.get(Variant("popularity")):
        than = hits(ranks_by_seed(base))
        higher = [
            name
            for name, runs in trained.items()
            if paired_difference(hits(ranks_by_seed(runs)), than).low > 0
        ]
    marks = {
        "above": higher,
        "below": [
            name for name in own if popular is not None and name != "popularity" and mean[name] <= popular
        ],
        "late": [
            name
            for name, runs in trained.items()
            if any(r.facts["best_step"] == r.spec.training.steps for r in runs)
        ],
        "flat": [name for name, runs in trained.items() if any(r.facts["best_step"] == 0 for r in runs)],
    }
    return {kind: ", ".join(names) or "none" for kind, names in marks.items()}


def control_sentences(frames: Mapping[Cell, pd.DataFrame]) -> list[str]:
    """What item-ID SASRec and the controls without training reach against full fine-tuning, one Markdown list
    item a cell.

    Args:
        frames: of :func:`methods_frame`, by cell.
    """
    lines = []
    for cell, frame in frames.items():
        rows = frame.set_index("method")
        told = [
            f"{NAMES[m]} is **{row['verdict']}** ({row['difference']:+.1f} points [{row['difference low']:+.1f}, {row['difference high']:+.1f}])"
            for m, row in rows.loc[
                [m for m in ("item_id", "nearest", "popularity") if m in rows.index]
            ].iterrows()
        ]
        lines.append(
            f"- *{cell.content[0].upper() + cell.content[1:]}*, against full fine-tuning: {'; '.join(told) or 'no control is recorded'}."
        )
    return lines


def filters_table(path: Path) -> pd.DataFrame:
    """What each filter left of each data set, from what ``transrec pack`` wrote; empty without it. Pairs
    share the rows of a common part.
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
            rows.append(
                {
                    "pairs": ", ".join(names),
                    "part": f"{part}: {effects['folder']}",
                    "filter": step["filter"],
                    **counts,
                }
            )
    return pd.DataFrame(rows)


def targets_table(path: Path) -> pd.DataFrame:
    """Test targets of each pair: how many, cold ones, and those that share their title; empty as
    :func:`filters_table`.
    """
    pairs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = []
    for pair, parts in pairs.items():
        n, cold, twins = (
            parts["target"][key] for key in ("targets", "cold targets", "targets with another's title")
        )
        share = {
            "cold (%)": f"{100 * cold / n:.1f}",
            "title of another item, too (%)": f"{100 * twins / n:.1f}",
        }
        items = parts["target"]["steps"][-1]["items"]
        rows.append(
            {"pair": pair, "items": f"{items:,}", "test targets": f"{n:,}", "cold": f"{cold:,}", **share}
        )
    return pd.DataFrame(rows)


def cold_table(found: Groups) -> pd.DataFrame:
    """HR@10 on warm and cold targets for each method and control of a cell, in the order of names; strings.

    The last column is the median rank of the cold targets among all items that are not in the user's history
    (mean over seeds), where it is recorded.
    """
    own_runs = {v.method: runs for v, runs in found.items() if not v.levels}
    frame = split_frame(own_runs)
    rows = []
    for method in [m for m in NAMES if m in set(frame["name"])]:
        own = frame[frame["name"] == method].set_index("targets")
        spans = {
            f"{part}: HR@10 (%) [95 %]": _quality(own.loc[part]) if part in own.index else "–"
            for part in ("all", "warm", "cold")
        }
        medians = [r.facts["cold_median_rank"] for r in own_runs[method] if "cold_median_rank" in r.facts]
        middle = {"cold: median rank": f"{np.mean(medians):,.0f}" if medians else "–"}
        rows.append({"method": NAMES[method], "seeds": int(own["seeds"].iloc[0]), **spans, **middle})
    return pd.DataFrame(rows)


def _quality(row: Any) -> str:
    return f"{row['quality']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"


def cold_verdict(found: Groups) -> tuple[str, str]:
    """Hypothesis H4 on a cell: the verdict on full fine-tuning against item-ID SASRec on cold targets
    alone ("" if there is none), and the reason or the difference in words; both empty if one of the two
    is not recorded.
    """
    full, ids = (found.get(Variant(method), []) for method in ("full", "item_id"))
    if not full or len(full) != len(ids):
        return "", ""
    d, cold = cold_difference(full, ids), cold_cases(full[0])
    if d is None or cold is None:
        return "", "no cold targets, or the records do not say which they are"
    if not any(
        (r.ranks[cold] <= 10).any() for r in (*full, *ids)
    ):  # an interval of zeros would look like certainty
        return (
            "",
            f"no verdict, since neither full fine-tuning nor item-ID SASRec hits one of the {int(cold.sum())} cold targets",
        )
    word = verdict(d, 0.0) if len(full) >= ENOUGH else "too few seeds"
    return word, f"{100 * d.mean:+.1f} points [{100 * d.low:+.1f}, {100 * d.high:+.1f}]"


def cold_sentence(cell: Cell, found: Groups) -> str:
    """Hypothesis H4 on a cell, a Markdown list item; empty if nothing of it is recorded."""
    word, why = cold_verdict(found)
    if word:
        return f"- *{cell.content}*: full fine-tuning minus item-ID SASRec on cold targets {why}: **{word}**."
    return f"- *{cell.content}*: {why}." if why else ""


#: Hypotheses of book/protocol_real.md on a method's verdict against full fine-tuning.
PREDICTED = {
    "H1: Houlsby is comparable": ("houlsby", "comparable"),
    "H2: no source is worse": ("scratch", "worse"),
    "H3: head only is worse": ("head", "worse"),
}
COLD = "H4: on cold targets, full fine-tuning is better than item IDs"


def hypotheses_table(
    cells: Sequence[tuple[Cell, Groups]], frames: Mapping[Cell, pd.DataFrame]
) -> pd.DataFrame:
    """Whether each hypothesis holds in each cell of RQ1: "holds", "does not hold" (another verdict is
    certain), or "open".

    Args:
        frames: of :func:`methods_frame`, by cell.
    """
    rows = []
    for cell, found in cells:
        frame = frames[cell].set_index("method")
        row = {"cell": cell.content}
        for name, (method, predicted) in PREDICTED.items():
            row[name] = "not run"
            if method in frame.index:
                own = frame.loc[method]
                span = f"{own['difference']:+.1f} points [{own['difference low']:+.1f}, {own['difference high']:+.1f}]"
                row[name] = f"{_held(own['verdict'], predicted)}: {own['verdict']}, {span}"
        word, why = cold_verdict(found)
        row[COLD] = f"{_held(word, 'better')}: {f'{word}, ' if word else ''}{why}" if why else "not run"
        rows.append(row)
    return pd.DataFrame(rows)


def _held(found: str, predicted: str) -> str:
    return (
        "holds"
        if found == predicted
        else "open"
        if found in ("", "undecided", "too few seeds")
        else "does not hold"
    )


def repeated(record: Record, again: Record) -> dict[str, Any]:
    """A record beside a repetition of it: HR@10 of both in percent, the recorded one's 95 % interval over
    users, whether the new one lies in it, and whether every test case has the same rank.
    """
    spread = interval(hits(record.ranks))
    now = again.metrics["HR@10"]
    return {
        "id": record.id,
        "method": record.spec.method,
        "seed": record.spec.seed,
        "target": record.spec.target.folder,
        "recorded": 100 * record.metrics["HR@10"],
        "low": 100 * spread.low,
        "high": 100 * spread.high,
        "again": 100 * now,
        "equal ranks": again.same_ranks(record),
        "agrees": bool(spread.low <= now <= spread.high),
        "code": again.facts["code"],
        "cpu": again.facts["cpu"],
    }


def read_repeats(path: Path) -> list[dict[str, Any]]:
    """What :func:`add_repeat` wrote; nothing if the file is not there.

    Raises:
        UserError: if the file is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        if not isinstance(found, list) or not all(isinstance(r, dict) and "id" in r for r in found):
            raise ValueError
        return found
    except (OSError, ValueError):
        raise UserError(f"{path}: not a file of repeated records; name another") from None


def add_repeat(path: Path, found: Mapping[str, Any]) -> None:
    """Adds what :func:`repeated` found to a JSON file, in place of an older repetition of the same record."""
    known = [r for r in read_repeats(path) if r["id"] != found["id"]]
    atomic_write(path, json.dumps([*known, dict(found)], indent=1) + "\n")


def repeats_table(path: Path) -> pd.DataFrame:
    """The readable form of what :func:`add_repeat` wrote; empty without it."""
    return pd.DataFrame(
        [
            {
                "id": r["id"],
                "what": f"{NAMES.get(r['method'], r['method'])}, seed {r['seed']}, {r['target']}",
                "recorded HR@10 (%) [95 %]": f"{r['recorded']:.2f} [{r['low']:.2f}, {r['high']:.2f}]",
                "again (%)": f"{r['again']:.2f}",
                "ranks of all test cases": "equal" if r["equal ranks"] else "differ",
                "agrees": "yes" if r["agrees"] else "no",
            }
            for r in read_repeats(path)
        ]
    )
