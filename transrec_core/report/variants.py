"""Records of a question by variant: what was varied against what it was varied from, along an axis, and
now against then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from transrec_core.evaluation.statistics import (
    RELATIVE_MARGIN,
    Crossing,
    Interval,
    crossing,
    hits,
    interval,
    paired_difference,
    verdicts,
)
from transrec_core.report.names import NAMES
from transrec_core.report.tables import compared
from transrec_core.study.grids import planned, variant_spec
from transrec_core.study.profile import Cell, Profile, Variant
from transrec_core.study.record import DamagedRecord, Record, ranks_by_seed
from transrec_core.study.step_sizes import Untuned
from transrec_core.study.store import Store

#: What factors and levels are called in tables, where not by their own names.
WORDS = {
    "item": "item encoder only",
    "user": "user encoder only",
    "attention": "behind attention only",
    "ffn": "behind feed-forward only",
    "top": "top layer only",
    "bottom": "bottom layer only",
    "embeddings": "input embeddings",
    "layernorm": "LayerNorm",
    "init": "first map's start",
    "normal": "N(0, 0.02)",
}

#: The levels of the base point of RQ3.
BASE = {
    "encoder": "both",
    "position": "both",
    "layers": "all",
    "form": "serial",
    "size": "16/8",
    "activation": "gelu",
    "init": "kaiming",
    "layernorm": "fixed",
    "head": "trained",
    "embeddings": "fixed",
}

Groups = dict[Variant, list[Record]]


def groups(
    profile: Profile, cell: Cell, seeds: Sequence[int], store: Store, partial: bool = False
) -> tuple[Groups, list[Variant]]:
    """Records of a cell's variants and controls, by variant; and the variants of which a run is not recorded,
    or its record damaged.

    Args:
        partial: while a study is under way, the seeds that the cell's first method has are enough, for it and
            for all that is compared with it.
    """
    asked = planned(profile, cell, tuple(seeds))
    plan = {variant: run_ids(profile, cell, variant, own) for variant, own in asked.items()}
    if partial and cell.methods and plan[Variant(cell.methods[0])]:
        there = {seed for seed, run_id in plan[Variant(cell.methods[0])].items() if _read(store, [run_id])}
        plan = {
            v: {s: i for s, i in ids.items() if s in there or len(asked[v]) == 1} for v, ids in plan.items()
        }
    read = {variant: _read(store, list(ids.values())) for variant, ids in plan.items()}
    return {variant: records for variant, records in read.items() if records}, [
        variant for variant, records in read.items() if not records
    ]


def run_ids(profile: Profile, cell: Cell, variant: Variant, seeds: Sequence[int]) -> dict[int, str]:
    """Ids of a variant's runs by seed; none if it has no step size yet, so that it can't be recorded."""
    try:
        return {seed: variant_spec(profile, cell, variant, seed).id() for seed in seeds}
    except Untuned:
        return {}


def _read(store: Store, ids: Sequence[str]) -> list[Record]:
    # All of them or none.
    try:
        return [store.read(run_id) for run_id in ids] if all(store.has(run_id) for run_id in ids) else []
    except DamagedRecord:
        return []


def factor_summary(found: Groups, base: Variant, only: Sequence[Variant]) -> pd.DataFrame:
    """Variants against the base point, see :func:`transrec_core.report.tables.compared`; "variant" holds the
    key of each row.

    The margin is a share of full fine-tuning's HR@10, as everywhere.
    """
    chosen = {base.label(): found[base]} | {v.label(): found[v] for v in only if v in found}
    frame = compared(chosen, base.label(), margin_of=found.get(Variant("full")))
    keys = {v.label(): v for v in (base, *only)}
    return frame.assign(variant=[keys[label] for label in frame["method"]])


def factor_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The readable form of :func:`factor_summary`."""
    rows = []
    reference = frame[frame["verdict"] == "reference"].iloc[0]
    for row in frame.to_dict("records"):
        variant, is_base = row["variant"], row["verdict"] == "reference"
        rows.append(
            {
                "factor": ", ".join(WORDS.get(f, f) for f, _ in variant.levels)
                or ("base point" if is_base else ""),
                "level": ", ".join(WORDS.get(level, level) for _, level in variant.levels)
                or NAMES.get(variant.method, variant.method),
                "HR@10 (%) [95 %]": _span(row["quality"], row["low"], row["high"]),
                "minus base (points) [95 %]": ""
                if is_base
                else _span(row["difference"], row["difference low"], row["difference high"], "+"),
                "verdict": row["verdict"],
                "detectable (points)": "–" if is_base else f"{row['detectable']:.1f}",
                "trained parameters": f"{row['trained']:,.0f}",
                "of base": f"{row['trained'] / reference['trained']:.2f}",
            }
        )
    return pd.DataFrame(rows)


def _span(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def said(variant: Variant) -> str:
    """A variant's levels in words; without any, the method's name."""
    return ", ".join(
        f"{WORDS.get(f, f)}: {WORDS.get(level, level)}" for f, level in variant.levels
    ) or NAMES.get(variant.method, variant.method)


def crossed_frame(found: Groups) -> pd.DataFrame:
    """Runs that vary position, form and size together: "position", "form", "size" (of the item encoder),
    "quality", "low", "high".
    """
    rows = []
    for variant, records in found.items():
        at = BASE | dict(variant.levels)
        q = interval(hits(ranks_by_seed(records)))
        place = {
            "position": WORDS.get(at["position"], "behind both"),
            "form": at["form"],
            "size": int(at["size"].split("/")[0]),
        }
        rows.append({**place, "quality": 100 * q.mean, "low": 100 * q.low, "high": 100 * q.high})
    return pd.DataFrame(rows).sort_values(["position", "form", "size"], ignore_index=True)


def curve(found: Groups, factor: str, x: Mapping[str, float], last: float | None = None) -> pd.DataFrame:
    """Quality along a factor: "method", "x", "quality", "low", "high", "seeds".

    Args:
        x: value of each level on the axis.
        last: value of the level that the cell has anyway; None if it is not on the axis.
    """
    rows = []
    varied = {v.method for v in found if v.levels and v.levels[0][0] == factor}
    for variant, records in found.items():
        place = (
            x.get(variant.levels[0][1])
            if variant.levels and variant.levels[0][0] == factor
            else None
            if variant.levels
            else last
        )
        if place is not None and variant.method in varied:
            q = interval(hits(ranks_by_seed(records)))
            found_here = {"quality": 100 * q.mean, "low": 100 * q.low, "high": 100 * q.high}
            rows.append({"method": variant.method, "x": place, **found_here, "seeds": len(records)})
    return pd.DataFrame(rows, columns=["method", "x", "quality", "low", "high", "seeds"]).sort_values(
        ["method", "x"], ignore_index=True
    )


def along(
    found: Groups, factor: str, x: Mapping[str, float], last: float | None, a: str, b: str
) -> dict[float, Interval]:
    """The paired difference of two methods at each place of an axis, for
    :func:`transrec_core.evaluation.statistics.crossing`; see :func:`curve`.
    """
    places: dict[float, Interval] = {}
    keys: list[tuple[float, tuple[tuple[str, str], ...]]] = [
        (value, ((factor, level),)) for level, value in x.items()
    ]
    if last is not None:
        keys.append((last, ()))
    for number, (value, levels) in enumerate(sorted(keys)):
        pair = [found.get(Variant(method, levels)) for method in (a, b)]
        if pair[0] is not None and pair[1] is not None:
            first, second = (hits(ranks_by_seed(records)) for records in pair if records is not None)
            places[value] = paired_difference(first, second, stream=number)
    return places


def pair_frame(
    found: Groups,
    factor: str,
    x: Mapping[str, float],
    last: float | None,
    pairs: Mapping[str, tuple[str, str]],
) -> tuple[pd.DataFrame, dict[str, Crossing]]:
    """Paired differences of methods along an axis, a row a pair and place, and where each pair's difference
    changes its sign.

    The margin is a share of full fine-tuning's HR@10 at the same place; the places of a pair are a family of
    tests. See :func:`curve` for ``x`` and ``last``.

    Returns:
        Rows with "pair", "place", "difference", "low", "high" and "of full" (full fine-tuning's HR@10) as
        shares of users, and "verdict".
    """
    levels = {value: ((factor, level),) for level, value in x.items()} | ({} if last is None else {last: ()})
    rows, crossings = [], {}
    for name, (a, b) in pairs.items():
        differences = along(found, factor, x, last, a, b)
        differences = {
            place: d for place, d in differences.items() if Variant("full", levels[place]) in found
        }
        if differences:
            full = [
                float(hits(ranks_by_seed(found[Variant("full", levels[place])])).mean())
                for place in differences
            ]
            judged = verdicts(list(differences.values()), [RELATIVE_MARGIN * f for f in full])
            rows += [
                {
                    "pair": name,
                    "place": place,
                    "difference": d.mean,
                    "low": d.low,
                    "high": d.high,
                    "of full": f,
                    "verdict": word,
                }
                for (place, d), f, word in zip(differences.items(), full, judged, strict=True)
            ]
            crossings[name] = crossing(list(differences), list(differences.values()))
    return pd.DataFrame(
        rows, columns=["pair", "place", "difference", "low", "high", "of full", "verdict"]
    ), crossings


def pair_table(
    found: Groups,
    factor: str,
    x: Mapping[str, float],
    last: float | None,
    pairs: Mapping[str, tuple[str, str]],
) -> tuple[pd.DataFrame, dict[str, Crossing]]:
    """The readable form of :func:`pair_frame`: a row a share, a column a pair; and the crossings."""
    long, crossings = pair_frame(found, factor, x, last, pairs)
    told = [
        f"{_span(100 * r.difference, 100 * r.low, 100 * r.high, '+')} {r.verdict}" for r in long.itertuples()
    ]
    columns = {
        f"{name} (points) [95 %], verdict": dict(zip(own["place"], own["told"], strict=True))
        for name, own in long.assign(told=told).groupby("pair", sort=False)
    }
    frame = pd.DataFrame(columns)
    frame.insert(0, "share (%)", [f"{100 * place:g}" for place in frame.index])
    return frame, crossings


def source_steps(found: Groups, factor: str, x: Mapping[str, float], path: Path) -> dict[float, str]:
    """How many steps the source models of a factor took, by place on the axis, from what
    :func:`transrec_core.study.run.shelf.source_facts` wrote.
    """
    facts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = {}
    for level, place in x.items():
        ids = {r.spec.source_id() for r in found.get(Variant("full", ((factor, level),)), [])}
        steps = [facts[name]["steps"] for name in ids if name in facts]
        if steps:
            told[place] = f"{np.mean(steps):,.0f} [{min(steps):,}, {max(steps):,}]"
    return told
