"""Embedded world and real data side by side: what the controls reach in both, and where their verdicts
disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from transrec_core.adapters.registry import METHODS
from transrec_core.report.evidence import ENOUGH, FULL, HOULSBY, gather, judged
from transrec_core.report.names import NAMES
from transrec_core.report.variants import Groups, factor_summary, groups, pair_frame, said
from transrec_core.study.grids import load_profile
from transrec_core.study.profile import Variant
from transrec_core.study.store import Store


def shipped(question: str, results: Path = Path("results")) -> tuple[dict[str, Groups], dict[str, Groups]]:
    """What ships of a question ("rq1"): its cells in the embedded world and on real data by name, with the
    objective that both have.
    """
    past, shelf = load_profile("study"), Store(results / "study")
    asked = past.question(question)
    there = {
        f"embedded, {c.content}": groups(past, c, asked.seeds, shelf)[0]
        for c in asked.cells
        if c.objective == "sasrec"
    }
    real = gather(load_profile("real"), Store(results / "real"))
    found: dict[str, Groups] = {}
    for cell, own in real.cells(question):
        found[cell.content] = found.get(cell.content, {}) | own  # RQ4 asks twice about a cell
    return there, found


def controls_table(embedded: Mapping[str, Groups], real: Mapping[str, Groups]) -> pd.DataFrame:
    """HR@10 in percent of full fine-tuning and of each control, a column a cell; "–" where there is none."""
    rows = {}
    for name in ("full", "scratch", "frozen", "untrained", "item_id", "popularity", "nearest"):
        own = {cell: found.get(Variant(name), []) for cell, found in (*embedded.items(), *real.items())}
        rows[NAMES[name]] = {
            cell: f"{100 * np.mean([r.metrics['HR@10'] for r in runs]):.1f}" if runs else "–"
            for cell, runs in own.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("HR@10 (%)").reset_index()


#: What is compared in both worlds: the base point, and what is held against it.
COMPARED: dict[str, tuple[Variant, tuple[Variant, ...]]] = {
    "rq1": (FULL, tuple(map(Variant, ("houlsby", "head", "scratch")))),
    "rq2": (FULL, tuple(map(Variant, ("houlsby", "parallel", "lora", "bitfit", "side", "head")))),
    "rq3": (
        HOULSBY,
        tuple(
            Variant("houlsby", (change,))
            for change in (
                ("position", "attention"),
                ("position", "ffn"),
                ("form", "parallel"),
                ("embeddings", "trained"),
            )
        ),
    ),
}


def beside(question: str, embedded: Mapping[str, Groups], real: Mapping[str, Groups]) -> pd.DataFrame:
    """Verdicts of a question in both worlds, see :func:`side_by_side` and, for RQ4,
    :func:`shares_side_by_side`.
    """
    return (
        side_by_side(embedded, real, *COMPARED[question])
        if question in COMPARED
        else shares_side_by_side(embedded, real)
    )


def side_by_side(
    embedded: Mapping[str, Groups], real: Mapping[str, Groups], base: Variant, chosen: Sequence[Variant]
) -> pd.DataFrame:
    """Differences to a base point in several embedded and several real cells (by name), a row for each
    variant, and whether the verdicts agree.

    Differences are in percent of full fine-tuning's HR@10 in the same cell, since the levels differ. Verdicts
    are those of the cell's own table: all its methods (or all single changes of the base point) are one
    family. "disagree": one of them is better, comparable or worse in an embedded cell, and another of these
    in a real one.
    """
    if not all(any(v in found for found in side.values() for v in chosen) for side in (embedded, real)):
        return pd.DataFrame()  # before anything is resampled in vain
    sides = [
        {name: _relative(found, base, chosen) for name, found in s.items() if base in found and FULL in found}
        for s in (embedded, real)
    ]
    return _beside(sides[0], sides[1], {variant.label(): said(variant) for variant in chosen})


def shares_side_by_side(embedded: Mapping[str, Groups], real: Mapping[str, Groups]) -> pd.DataFrame:
    """The same for RQ4, at the shares of users that both worlds have; the adapter is the one that a
    world's RQ4 varies.
    """
    there = {cell: frame for cell, found in real.items() if len(frame := _by_share(found))}
    here = {cell: frame for cell, found in embedded.items() if there and len(frame := _by_share(found))}
    return _beside(here, there, {what: what for frame in here.values() for what in frame.index})


def _by_share(found: Groups) -> pd.DataFrame:
    # The differences of RQ4 by what they are and at which share: "verdict", "share" (percent of full
    # fine-tuning there).
    parts = []
    for factor, last in (("target share", 1.0), ("source share", None)):
        varied = [v for v in found if len(v.levels) == 1 and v.levels[0][0] == factor]
        adapter = next((v.method for v in varied if v.method in METHODS), "")
        pairs = {
            "adapter minus full": (adapter, "full"),
            "head only minus full": ("head", "full"),
            "no source minus full": ("scratch", "full"),
        }
        x = {v.levels[0][1]: float(v.levels[0][1].rstrip(" %")) / 100 for v in varied}
        frame = pair_frame(found, factor, x, last, pairs)[0] if varied else pd.DataFrame()
        if len(frame):
            few = min(len(runs) for v, runs in found.items() if v in varied) < ENOUGH
            what = [f"{r.pair}, {factor} {100 * r.place:g} %" for r in frame.itertuples()]
            verdicts = ["too few seeds"] * len(frame) if few else frame["verdict"]
            parts.append(
                pd.DataFrame(
                    {"verdict": verdicts, "share": 100 * frame["difference"] / frame["of full"]}
                ).set_axis(what)
            )
    return pd.concat(parts) if parts else pd.DataFrame()


def _beside(
    embedded: Mapping[str, pd.DataFrame], real: Mapping[str, pd.DataFrame], names: Mapping[str, str]
) -> pd.DataFrame:
    # A row for each of the names that both sides have; frames hold "verdict" and "share" (percent of full
    # fine-tuning) by name.
    rows = []
    for key, what in names.items():
        there = {
            cell: frame.loc[key] for cell, frame in (*embedded.items(), *real.items()) if key in frame.index
        }
        sides = [{there[cell]["verdict"] for cell in side if cell in there} for side in (embedded, real)]
        if not all(sides):
            continue
        certain = [side - {"undecided", "too few seeds"} for side in sides]
        agree = (
            "can't tell" if not all(certain) else "agree" if len(certain[0] | certain[1]) == 1 else "disagree"
        )
        cells = {
            c: f"{there[c]['verdict']} ({there[c]['share']:+.0f} %)" if c in there else "–"
            for c in (*embedded, *real)
        }
        rows.append({"what": what, **cells, "embedded and real": agree})
    return pd.DataFrame(rows)


def _relative(found: Groups, base: Variant, chosen: Sequence[Variant]) -> pd.DataFrame:
    depth = {len(variant.levels) for variant in chosen}
    family = [
        v for v in found if v != base and len(v.levels) in depth and (not v.levels or v.method == base.method)
    ]
    frame = judged(factor_summary(found, base, family))
    full = 100 * float(np.mean([r.metrics["HR@10"] for r in found[FULL]]))
    return frame.assign(share=100 * frame["difference"] / full).set_index("method")


def summary() -> str:
    """A Markdown list: for each question, where the two worlds disagree, by what ships."""
    return "\n".join(f"- {{doc}}`{q}`: {disagreements(beside(q, *shipped(q)))}" for q in (*COMPARED, "rq4"))


def disagreements(frame: pd.DataFrame) -> str:
    """What a table of :func:`side_by_side` comes to, in a sentence."""
    if frame.empty:
        return "Nothing is recorded on both sides yet."
    told = {
        kind: list(frame.loc[frame["embedded and real"] == kind, "what"])
        for kind in ("agree", "disagree", "can't tell")
    }
    return "; ".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in told.items()) + "."
