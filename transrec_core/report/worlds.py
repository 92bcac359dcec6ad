"""Embedded world and real data side by side: where their verdicts disagree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from transrec_core.adapters.registry import METHODS
from transrec_core.report.comparisons import ENOUGH_SEEDS, FULL, Runs, compare
from transrec_core.report.curves import PairCurve, pair_curves, share_axis
from transrec_core.report.estimates import Verdict
from transrec_core.report.evidence import gather
from transrec_core.report.names import variant_name
from transrec_core.report.variants import BASE_POINT, question_runs
from transrec_core.study.grids import load_profile
from transrec_core.study.profile import Variant
from transrec_core.study.store import Store

#: Runs of several cells by the cell's name.
Cells = Mapping[str, Runs]

#: What is compared in both worlds: the base point, and what is held against it.
COMPARED: dict[str, tuple[Variant, tuple[Variant, ...]]] = {
    "rq1": (FULL, tuple(map(Variant, ("houlsby", "head", "scratch")))),
    "rq2": (FULL, tuple(map(Variant, ("houlsby", "parallel", "lora", "bitfit", "side", "head")))),
    "rq3": (
        BASE_POINT,
        tuple(
            Variant(BASE_POINT.method, (change,))
            for change in (
                ("position", "attention"),
                ("position", "ffn"),
                ("form", "parallel"),
                ("embeddings", "trained"),
            )
        ),
    ),
}
QUESTIONS = (*COMPARED, "rq4")


def shipped(question: str, results: Path = Path("results")) -> tuple[Cells, Cells]:
    """What ships of a question.

    Args:
        question: its name ("rq1").
        results: the folder of both shelves.

    Returns:
        Its cells in the embedded world and on real data by name, with the objective that both have.
    """
    profile, shelf = load_profile("study"), Store(results / "study")
    embedded = {
        f"embedded, {cell.content}": runs
        for cell, runs in question_runs(profile, profile.question(question), shelf).items()
        if cell.objective == "sasrec"
    }
    real: dict[str, Runs] = {}
    for cell, runs in gather(load_profile("real"), Store(results / "real")).cells(question):
        real[cell.content] = {**real.get(cell.content, {}), **runs}  # RQ4 asks twice about a cell
    return embedded, real


@dataclass(frozen=True)
class Effect:
    """What a cell says of a change: the verdict, and the difference as a share of full fine-tuning's HR@10
    in the cell, since the levels of cells differ.
    """

    verdict: Verdict
    relative: float


@dataclass(frozen=True)
class SideBySide:
    """A change in several embedded and several real cells.

    Attributes:
        what: is compared, in words.
        effects: by the name of the cell, embedded cells first; None where it was not run.
        outcome: "disagree" if it is better, comparable or worse in an embedded cell, and another of these in
            a real one; "can't tell" if one side is certain of nothing.
    """

    what: str
    effects: Mapping[str, Effect | None]
    outcome: Literal["agree", "disagree", "can't tell"]


def both_worlds(question: str, embedded: Cells, real: Cells) -> list[SideBySide]:
    """A question in both worlds, see :func:`side_by_side` and, for RQ4, :func:`shares_side_by_side`."""
    if question in COMPARED:
        return side_by_side(embedded, real, *COMPARED[question])
    return shares_side_by_side(embedded, real)


def side_by_side(embedded: Cells, real: Cells, base: Variant, chosen: Sequence[Variant]) -> list[SideBySide]:
    """Differences to a base point in several embedded and several real cells.

    Verdicts are those of the cell's own table: all its methods (or all single changes of the base point) are
    one family.

    Args:
        embedded: runs of embedded cells by name.
        real: runs of real ones by name.
        base: the base point.
        chosen: what is shown, where both sides have it.
    """
    if not all(any(v in runs for runs in cells.values() for v in chosen) for cells in (embedded, real)):
        return []  # before anything is resampled in vain
    sides = [
        {name: _effects(runs, base, chosen) for name, runs in cells.items() if base in runs and FULL in runs}
        for cells in (embedded, real)
    ]
    return _beside(sides[0], sides[1], {v.label(): variant_name(v) for v in chosen})


def _effects(runs: Runs, base: Variant, chosen: Iterable[Variant]) -> dict[str, Effect]:
    # By label, for all of the family.
    depth = {len(variant.levels) for variant in chosen}
    family = [
        v for v in runs if v != base and len(v.levels) in depth and (not v.levels or v.method == base.method)
    ]
    full = float(np.mean([r.metrics["HR@10"] for r in runs[FULL]]))
    return {
        c.variant.label(): Effect(c.verdict, c.difference.mean / full)
        for c in compare(runs, base, family, seeds=ENOUGH_SEEDS)
        if c.difference is not None
    }


def shares_side_by_side(embedded: Cells, real: Cells) -> list[SideBySide]:
    """The same for RQ4, at the shares of users that both worlds have; the adapter is the one that a
    world's RQ4 varies.
    """
    real_effects = {cell: effects for cell, runs in real.items() if (effects := _share_effects(runs))}
    embedded_effects = {
        cell: effects for cell, runs in embedded.items() if real_effects and (effects := _share_effects(runs))
    }
    names = {what: what for effects in embedded_effects.values() for what in effects}
    return _beside(embedded_effects, real_effects, names)


def _share_effects(runs: Runs) -> dict[str, Effect]:
    # The differences of RQ4 by what they are and at which share.
    effects: dict[str, Effect] = {}
    for factor, last in (("target share", 1.0), ("source share", None)):
        varied = [v for v in runs if len(v.levels) == 1 and v.levels[0][0] == factor]
        if not varied:
            continue
        adapter = next((v.method for v in varied if v.method in METHODS), "")
        pairs = {
            "adapter minus full": (adapter, "full"),
            "head only minus full": ("head", "full"),
            "no source minus full": ("scratch", "full"),
        }
        few = min(len(runs[v]) for v in varied) < ENOUGH_SEEDS
        for curve in pair_curves(runs, share_axis(runs, factor, last), pairs):
            effects |= _along(curve, factor, few)
    return effects


def _along(curve: PairCurve, factor: str, few: bool) -> dict[str, Effect]:
    return {
        f"{curve.name}, {factor} {100 * p.place:g} %": Effect(
            Verdict.FEW_SEEDS if few else p.verdict, p.difference.mean / p.full
        )
        for p in curve.points
    }


def _beside(
    embedded: Mapping[str, Mapping[str, Effect]],
    real: Mapping[str, Mapping[str, Effect]],
    names: Mapping[str, str],
) -> list[SideBySide]:
    # One for each of the names that both sides have.
    rows = []
    for key, what in names.items():
        sides = [{cell: effects.get(key) for cell, effects in side.items()} for side in (embedded, real)]
        if not all(any(side.values()) for side in sides):
            continue
        certain = [{e.verdict for e in side.values() if e and e.verdict.certain} for side in sides]
        outcome: Literal["agree", "disagree", "can't tell"] = "can't tell"
        if all(certain):
            outcome = "agree" if len(certain[0] | certain[1]) == 1 else "disagree"
        rows.append(SideBySide(what, sides[0] | sides[1], outcome))
    return rows
