"""Which runs make up a research question: profiles (how big), cells (which comparison), step sizes (how tuned).

A *cell* is one comparison: a modality, a setting of the titles, an objective, and the methods compared there. Step sizes are
chosen by ``transrec tune``: every method gets a grid of the same length, one tuning seed that is used for nothing else, and
the validation users; the choice is written to ``profiles/step_sizes.yaml`` with the figures that it rests on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml

from transrec_core.adapters import METHODS
from transrec_core.adapters.base import StrictModel
from transrec_core.errors import UserError
from transrec_core.files import atomic_write
from transrec_core.specs import RunSpec, validated
from transrec_core.store import Store
from transrec_core.study import run_many

PROFILES = Path(__file__).parent / "profiles"
STEP_SIZES = PROFILES / "step_sizes.yaml"
TUNING_SEED = 0

#: Equal length for every method (see book/protocol.md). One number a run: the peak learning rate of all that trains.
GRID: dict[str, tuple[float, ...]] = {
    "full": (1e-3, 2e-3, 4e-3, 8e-3),
    "scratch": (1e-3, 2e-3, 4e-3, 8e-3),
    "item_id": (1e-3, 4e-3, 1.6e-2, 6.4e-2),
    "head": (5e-3, 1e-2, 2e-2, 4e-2),
    "houlsby": (5e-3, 1e-2, 2e-2, 4e-2),
    "pfeiffer": (5e-3, 1e-2, 2e-2, 4e-2),
    "lora": (5e-3, 1e-2, 2e-2, 4e-2),
}


class Cell(StrictModel):
    """One comparison on the embedded world."""

    modality: Literal["text", "image"]
    titles: Literal["informative", "vague"] = "informative"
    objective: Literal["sasrec", "cpc"] = "sasrec"
    methods: tuple[str, ...]

    @property
    def name(self) -> str:
        """Key of the cell in files: modality, titles, objective."""
        return "-".join([self.modality, *([self.titles] if self.modality == "text" else []), self.objective])

    @property
    def title(self) -> str:
        """The cell in words, for headings."""
        what = {"text": f"{self.titles} titles", "image": "pictures"}[self.modality]
        return f"{what}, {self.objective.upper() if self.objective == 'cpc' else 'SASRec'} objective"


class Profile(StrictModel):
    """How big the live study is.

    Attributes:
        seeds: of the adaptation. controls: methods that every cell gets besides its own (one run each if nothing in them is random).
        base: fields of :class:`RunSpec` that all runs share. overrides: fields by modality, laid over the base. cells: the comparisons.
    """

    seeds: tuple[int, ...]
    controls: tuple[str, ...]
    base: dict[str, Any]
    overrides: dict[str, dict[str, Any]] = {}
    cells: tuple[Cell, ...]


def load_profile(name: str) -> Profile:
    """A profile by name.

    Raises:
        UserError: if there is none of that name.
    """
    path = PROFILES / f"{name}.yaml"
    if name == STEP_SIZES.stem or not path.is_file():
        known = sorted(p.stem for p in PROFILES.glob("*.yaml") if p != STEP_SIZES)
        raise UserError(f"no profile '{name}' (there are: {', '.join(known)})")
    return Profile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``, key by key, nested."""
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def run_spec(profile: Profile, cell: Cell, method: str, seed: int, lr: float | None = None) -> RunSpec:
    """The specification of one run of a cell.

    Args:
        lr: peak learning rate; None takes the tuned one.
    """
    fields = merged(profile.base, profile.overrides.get(cell.modality, {}))
    data = {"modality": cell.modality, "titles": cell.titles}
    fields = merged(fields, {"source": {"data": {"folder": "world:source", **data}}, "target": {"folder": "world:target", **data}})
    fields = merged(fields, {"model": {"objective": cell.objective}, "seed": seed})
    if method in METHODS:
        fields = merged(fields, {"strategy": "adapter", "adapter": {"method": method}})
    else:
        fields = {**fields, "strategy": method, "adapter": None}
    if method in GRID:
        value = tuned(cell, method) if lr is None else lr
        fields = merged(fields, {"training": {"lr": {part: value for part in ("encoder", "head", "user", "adapter")}}})
    return validated(fields, f"profile, cell {cell.name}, method {method}")


def cell_specs(profile: Profile, cell: Cell) -> list[RunSpec]:
    """All runs of a cell: methods by seeds, and the controls (item-ID SASRec by seeds, the others once)."""
    specs = [run_spec(profile, cell, method, seed) for method in cell.methods for seed in profile.seeds]
    for control in profile.controls:
        seeds = profile.seeds if control in GRID else profile.seeds[:1]
        specs += [run_spec(profile, cell, control, seed) for seed in seeds]
    return specs


def step_sizes() -> dict[str, Any]:
    """The table that :func:`tune` wrote: {cell: {method: {"chosen", "valid NDCG@10", "best step"}}}."""
    return yaml.safe_load(STEP_SIZES.read_text(encoding="utf-8")) if STEP_SIZES.exists() else {}


def tuned(cell: Cell, method: str) -> float:
    """The chosen step size of a method in a cell.

    Raises:
        UserError: if it was never tuned.
    """
    try:
        return float(step_sizes()[cell.name][method]["chosen"])
    except KeyError:
        raise UserError(f"{method} has no step size for {cell.name}; `transrec tune` chooses one") from None


def tune(profile: Profile, store: Store, workers: int | None = None) -> dict[str, Any]:
    """Runs the grid of every method in every cell with the tuning seed and writes the choices (highest validation NDCG@10).

    Returns:
        {cell: {method: {"chosen": step size, "valid NDCG@10": {step size: figure}, "best step": {step size: step}}}}
    """
    plan = [
        (cell, method, lr, run_spec(profile, cell, method, TUNING_SEED, lr))
        for cell in profile.cells
        for method in (*cell.methods, *(c for c in profile.controls if c in GRID))
        if method in GRID
        for lr in GRID[method]
    ]
    records = run_many([spec for *_, spec in plan], store, workers=workers)
    table: dict[str, Any] = {}
    for (cell, method, lr, _), record in zip(plan, records, strict=True):
        entry = table.setdefault(cell.name, {}).setdefault(method, {"chosen": None, "valid NDCG@10": {}, "best step": {}})
        entry["valid NDCG@10"][lr] = round(record.facts["valid"]["NDCG@10"], 4)
        entry["best step"][lr] = record.facts["best_step"]
    for methods in table.values():
        for entry in methods.values():
            entry["chosen"] = max(entry["valid NDCG@10"], key=entry["valid NDCG@10"].get)
    head = "# Written by `transrec tune`: validation figures of the tuning seed and the step size chosen from them. Do not edit.\n"
    atomic_write(STEP_SIZES, head + yaml.safe_dump(table, sort_keys=False))
    return table
