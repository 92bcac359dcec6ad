"""Records of a question by variant: what was varied against what it was varied from, along an axis, and now against then."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from transrec_core.grids import Cell, Profile, Question, Variant, planned, variant_spec
from transrec_core.report import NAMES, compared
from transrec_core.statistics import RELATIVE_MARGIN, Crossing, Interval, crossing, hits, interval, paired_difference, verdicts
from transrec_core.store import DamagedRecord, Record, Store
from transrec_core.study import ranks_by_seed
from transrec_core.tuning import Untuned

#: What factors and levels are called in tables, where not by their own names.
WORDS = {
    "item": "item encoder only", "user": "user encoder only", "attention": "behind attention only", "ffn": "behind feed-forward only",
    "top": "top layer only", "bottom": "bottom layer only", "embeddings": "input embeddings", "layernorm": "LayerNorm",
    "init": "first map's start", "normal": "N(0, 0.02)",
}  # fmt: skip

#: The levels of the base point of RQ3.
BASE = {
    "encoder": "both", "position": "both", "layers": "all", "form": "serial", "size": "16/8", "activation": "gelu", "init": "kaiming",
    "layernorm": "fixed", "head": "trained", "embeddings": "fixed",
}  # fmt: skip

Groups = dict[Variant, list[Record]]


def groups(profile: Profile, cell: Cell, seeds: Sequence[int], store: Store, partial: bool = False) -> tuple[Groups, list[Variant]]:
    """Records of a cell's variants and controls, by variant; and the variants of which a run is not recorded, or its record damaged.

    Args:
        partial: while a study is under way, the seeds that the cell's first method has are enough, for it and for all that is compared with it.
    """
    asked = planned(profile, cell, tuple(seeds))
    plan = {variant: run_ids(profile, cell, variant, own) for variant, own in asked.items()}
    if partial and cell.methods and plan[Variant(cell.methods[0])]:
        there = {seed for seed, run_id in plan[Variant(cell.methods[0])].items() if _read(store, [run_id])}
        plan = {v: {s: i for s, i in ids.items() if s in there or len(asked[v]) == 1} for v, ids in plan.items()}
    read = {variant: _read(store, list(ids.values())) for variant, ids in plan.items()}
    return {variant: records for variant, records in read.items() if records}, [variant for variant, records in read.items() if not records]


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


def not_run(found: Mapping[Cell, list[Variant]]) -> str:
    """A sentence on what was planned and is not recorded."""
    parts = [f"{cell.title}: {', '.join(v.label() for v in missing)}" for cell, missing in found.items() if missing]
    return f"Planned and not recorded, or damaged: {'; '.join(parts)}." if parts else "All that was planned is recorded."


def factor_summary(found: Groups, base: Variant, only: Sequence[Variant]) -> pd.DataFrame:
    """Variants against the base point, see :func:`transrec_core.report.compared`; "variant" holds the key of each row.

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
        rows.append({
            "factor": ", ".join(WORDS.get(f, f) for f, _ in variant.levels) or ("base point" if is_base else ""),
            "level": ", ".join(WORDS.get(level, level) for _, level in variant.levels) or NAMES.get(variant.method, variant.method),
            "HR@10 (%) [95 %]": _span(row["quality"], row["low"], row["high"]),
            "minus base (points) [95 %]": "" if is_base else _span(row["difference"], row["difference low"], row["difference high"], "+"),
            "verdict": row["verdict"], "detectable (points)": "–" if is_base else f"{row['detectable']:.1f}",
            "trained parameters": f"{row['trained']:,.0f}", "of base": f"{row['trained'] / reference['trained']:.2f}",
        })  # fmt: skip
    return pd.DataFrame(rows)


def _span(mean: float, low: float, high: float, sign: str = "") -> str:
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def said(variant: Variant) -> str:
    """A variant's levels in words; without any, the method's name."""
    return ", ".join(f"{WORDS.get(f, f)}: {WORDS.get(level, level)}" for f, level in variant.levels) or NAMES.get(variant.method, variant.method)


def crossed_frame(found: Groups) -> pd.DataFrame:
    """Runs that vary position, form and size together: "position", "form", "size" (of the item encoder), "quality", "low", "high"."""
    rows = []
    for variant, records in found.items():
        at = BASE | dict(variant.levels)
        q = interval(hits(ranks_by_seed(records)))
        place = {"position": WORDS.get(at["position"], "behind both"), "form": at["form"], "size": int(at["size"].split("/")[0])}
        rows.append({**place, "quality": 100 * q.mean, "low": 100 * q.low, "high": 100 * q.high})
    return pd.DataFrame(rows).sort_values(["position", "form", "size"], ignore_index=True)


def interaction_sentences(found: Groups, cell: Cell) -> list[str]:
    """What a parallel adapter gains over a serial one at each position and size, and whether that gain depends on them; Markdown list items.

    Family: the interactions of one cell, corrected together.
    """
    gains: dict[str, np.ndarray] = {}
    for factor, levels in (("", ("",)), ("position", ("attention", "ffn")), ("size", ("1/1", "4/2", "64/32"))):
        for level in levels:
            before = ((factor, level),) if factor == "position" else ()
            after = ((factor, level),) if factor == "size" else ()
            serial, parallel = (found.get(Variant("houlsby", (*before, *form, *after))) for form in ((), (("form", "parallel"),)))
            if serial is not None and parallel is not None:
                name = f"{WORDS.get(factor, factor)}: {WORDS.get(level, level)}" if factor else "base point"
                gains[name] = hits(ranks_by_seed(parallel)) - hits(ranks_by_seed(serial))
    lines = []
    for name, values in gains.items():
        q = interval(values)
        span = _span(100 * q.mean, 100 * q.low, 100 * q.high, "+")
        lines.append(f"- {cell.title[0].upper() + cell.title[1:]}, parallel minus serial, {name}: {span} points.")
    extra = {name: paired_difference(values, gains["base point"]) for name, values in gains.items() if name != "base point" and "base point" in gains}
    judged = dict(zip(extra, verdicts(list(extra.values()), 0.0), strict=True))
    told = [f"{name} {_span(100 * d.mean, 100 * d.low, 100 * d.high, '+')}" for name, d in extra.items() if judged[name] in ("worse", "better")]
    if extra:
        lines.append(
            f"- *Interactions*: that gain differs from the base point's at {'; '.join(told) or 'none of these places, as far as can be told'}."
        )
    return lines


def factor_sentences(frame: pd.DataFrame) -> list[str]:
    """One line a verdict: which changes of the base point made things worse, better, no difference, or can't be told."""
    lines = []
    for what, text in (
        ("better", "Better than the base point"),
        ("comparable", "Comparable to it"),
        ("worse", "Worse"),
        ("undecided", "Can't be told"),
    ):
        rows = frame[(frame["verdict"] == what) & frame["variant"].map(lambda v: bool(v.levels))]
        parts = [f"{said(row.variant)} ({row.difference:+.1f})" for row in rows.itertuples()]
        lines.append(f"- {text}: {'; '.join(parts) or 'none'}.")
    return lines


def curve(found: Groups, factor: str, x: Mapping[str, float], last: float | None = None) -> pd.DataFrame:
    """Quality along a factor: "method", "x", "quality", "low", "high", "seeds".

    Args:
        x: value of each level on the axis. last: value of the level that the cell has anyway; None if it is not on the axis.
    """
    rows = []
    varied = {v.method for v in found if v.levels and v.levels[0][0] == factor}
    for variant, records in found.items():
        place = x.get(variant.levels[0][1]) if variant.levels and variant.levels[0][0] == factor else None if variant.levels else last
        if place is not None and variant.method in varied:
            q = interval(hits(ranks_by_seed(records)))
            found_here = {"quality": 100 * q.mean, "low": 100 * q.low, "high": 100 * q.high}
            rows.append({"method": variant.method, "x": place, **found_here, "seeds": len(records)})
    return pd.DataFrame(rows, columns=["method", "x", "quality", "low", "high", "seeds"]).sort_values(["method", "x"], ignore_index=True)


def along(found: Groups, factor: str, x: Mapping[str, float], last: float | None, a: str, b: str) -> dict[float, Interval]:
    """The paired difference of two methods at each place of an axis, for :func:`transrec_core.statistics.crossing`; see :func:`curve`."""
    places: dict[float, Interval] = {}
    keys: list[tuple[float, tuple[tuple[str, str], ...]]] = [(value, ((factor, level),)) for level, value in x.items()]
    if last is not None:
        keys.append((last, ()))
    for number, (value, levels) in enumerate(sorted(keys)):
        pair = [found.get(Variant(method, levels)) for method in (a, b)]
        if pair[0] is not None and pair[1] is not None:
            first, second = (hits(ranks_by_seed(records)) for records in pair if records is not None)
            places[value] = paired_difference(first, second, stream=number)
    return places


def pair_frame(
    found: Groups, factor: str, x: Mapping[str, float], last: float | None, pairs: Mapping[str, tuple[str, str]]
) -> tuple[pd.DataFrame, dict[str, Crossing]]:  # fmt: skip
    """Paired differences of methods along an axis, a row a pair and place, and where each pair's difference changes its sign.

    The margin is a share of full fine-tuning's HR@10 at the same place; the places of a pair are a family of tests. See :func:`curve` for ``x``
    and ``last``.

    Returns:
        Rows with "pair", "place", "difference", "low", "high" and "of full" (full fine-tuning's HR@10) as shares of users, and "verdict".
    """
    levels = {value: ((factor, level),) for level, value in x.items()} | ({} if last is None else {last: ()})
    rows, crossings = [], {}
    for name, (a, b) in pairs.items():
        differences = along(found, factor, x, last, a, b)
        differences = {place: d for place, d in differences.items() if Variant("full", levels[place]) in found}
        if differences:
            full = [float(hits(ranks_by_seed(found[Variant("full", levels[place])])).mean()) for place in differences]
            judged = verdicts(list(differences.values()), [RELATIVE_MARGIN * f for f in full])
            rows += [
                {"pair": name, "place": place, "difference": d.mean, "low": d.low, "high": d.high, "of full": f, "verdict": word}
                for (place, d), f, word in zip(differences.items(), full, judged, strict=True)
            ]
            crossings[name] = crossing(list(differences), list(differences.values()))
    return pd.DataFrame(rows, columns=["pair", "place", "difference", "low", "high", "of full", "verdict"]), crossings


def pair_table(
    found: Groups, factor: str, x: Mapping[str, float], last: float | None, pairs: Mapping[str, tuple[str, str]]
) -> tuple[pd.DataFrame, dict[str, Crossing]]:  # fmt: skip
    """The readable form of :func:`pair_frame`: a row a share, a column a pair; and the crossings."""
    long, crossings = pair_frame(found, factor, x, last, pairs)
    told = [f"{_span(100 * r.difference, 100 * r.low, 100 * r.high, '+')} {r.verdict}" for r in long.itertuples()]
    columns = {
        f"{name} (points) [95 %], verdict": dict(zip(own["place"], own["told"], strict=True))
        for name, own in long.assign(told=told).groupby("pair", sort=False)
    }
    frame = pd.DataFrame(columns)
    frame.insert(0, "share (%)", [f"{100 * place:g}" for place in frame.index])
    return frame, crossings


def source_steps(found: Groups, factor: str, x: Mapping[str, float], path: Path) -> dict[float, str]:
    """How many steps the source models of a factor took, by place on the axis, from what :func:`transrec_core.shelf.source_facts` wrote."""
    facts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = {}
    for level, place in x.items():
        ids = {r.spec.source_id() for r in found.get(Variant("full", ((factor, level),)), [])}
        steps = [facts[name]["steps"] for name in ids if name in facts]
        if steps:
            told[place] = f"{np.mean(steps):,.0f} [{min(steps):,}, {max(steps):,}]"
    return told


def crossing_words(name: str, found: Crossing) -> str:
    """What a crossing along an axis of shares says, by the protocol's rule; a Markdown list item."""
    where = f"{100 * found.place:.2g} % of the users [{100 * found.low:.2g}, {100 * found.high:.2g}]"
    if found.share <= 0.05:
        return f"- *{name}*: none seen (a change of sign in {100 * found.share:.0f} % of the resamples)."
    if found.share >= 0.95 and found.certain:
        return f"- *{name}*: at {where}."
    share = f"{100 * found.share:.0f} % of the resamples have a change of sign, at {where}"
    return f"- *{name}*: undecided; no sign is certain on both sides ({share})."


def agreement(live: Mapping[Cell, Groups], recorded: Mapping[Cell, Groups], methods_only: bool = False) -> pd.DataFrame:
    """Live runs beside recorded ones: whether the same run gave the same ranks, and whether the live figure lies in the recorded interval."""
    rows = []
    by_name = {cell.name: found for cell, found in recorded.items()}
    for cell, found in live.items():
        for variant, now in found.items():
            then = by_name.get(cell.name, {}).get(variant)
            if then is None or (methods_only and variant.levels) or "train_seconds" not in now[0].facts:
                continue
            figure = 100 * float(np.mean([r.metrics["HR@10"] for r in now]))
            past = {r.id: r for r in then}
            same = [r.same_ranks(past[r.id]) for r in now if r.id in past]
            spread = interval(hits(ranks_by_seed(then)))
            rows.append({
                "cell": cell.title, "what": NAMES.get(variant.method, variant.method) + (f", {said(variant)}" if variant.levels else ""),
                "live HR@10 (%)": f"{figure:.2f}", "recorded HR@10 (%) [95 %]": _span(100 * spread.mean, 100 * spread.low, 100 * spread.high),
                "same run again": "not recorded" if not same else "equal ranks" if all(same) else "ranks differ",
                "inside": "yes" if 100 * spread.low <= figure <= 100 * spread.high else "no",
            })  # fmt: skip
    return pd.DataFrame(rows, columns=["cell", "what", "live HR@10 (%)", "recorded HR@10 (%) [95 %]", "same run again", "inside"])


def agreement_sentence(frame: pd.DataFrame, profile: str) -> str:
    """How many live figures agree with the recorded ones."""
    if profile == "smoke":
        return "With the profile `smoke`, which trains for a few steps only, live figures can't agree with recorded ones."
    again = frame[frame["same run again"] != "not recorded"]
    inside, equal = (frame["inside"] == "yes").sum(), (again["same run again"] == "equal ranks").sum()
    again_said = f"of {len(again)} that repeat recorded runs, {equal} have exactly their ranks"
    return f"{inside} of {len(frame)} live figures lie inside the recorded interval; {again_said}."


def live_and_recorded(
    question: str, profile: Profile, asked: Question, live: Store, recorded_profile: Profile, shelf: Store
) -> tuple[dict[Cell, Groups], dict[Cell, Groups], dict[Cell, list[Variant]]]:  # fmt: skip
    """Groups of the live cells, of the recorded cells, and what the recorded ones lack."""
    now = {cell: groups(profile, cell, asked.seeds, live)[0] for cell in asked.cells}
    then, missing = {}, {}
    past = recorded_profile.question(question)
    for cell in past.cells:
        then[cell], missing[cell] = groups(recorded_profile, cell, past.seeds, shelf)
    return now, then, missing
