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

_MATRICES = (5e-3, 1e-2, 2e-2, 4e-2)  # adapters made of matrices, and the head
_VECTORS = (1e-2, 2e-2, 4e-2, 8e-2)  # adapters made of vectors

#: Equal length for every method (see book/protocol.md). One number a run: the peak learning rate of all that trains.
GRID: dict[str, tuple[float, ...]] = {
    "full": (1e-3, 2e-3, 4e-3, 8e-3),
    "scratch": (1e-3, 2e-3, 4e-3, 8e-3),
    "item_id": (1e-3, 4e-3, 1.6e-2, 6.4e-2),
    **dict.fromkeys(("head", "houlsby", "pfeiffer", "parallel", "compacter", "lora", "dora", "side"), _MATRICES),
    "rslora": (2.5e-3, 5e-3, 1e-2, 2e-2),  # its update is sqrt(rank) times LoRA's
    "k_adapter": (2.5e-3, 5e-3, 1e-2, 2e-2),  # it is made of transformer layers
    **dict.fromkeys(("ia3", "bitfit", "layernorm"), _VECTORS),
    **dict.fromkeys(("prompt", "prefix"), (1e-2, 3e-2, 1e-1, 3e-1)),
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


class Question(StrictModel):
    """What a research question compares, and with which seeds of the adaptation."""

    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]


class Profile(StrictModel):
    """How big a study is.

    Attributes:
        controls: methods that every cell gets besides its own (one run each if nothing in them is random).
        base: fields of :class:`RunSpec` that all runs share. overrides: fields by modality, laid over the base. questions: by name ("rq1").
    """

    controls: tuple[str, ...]
    base: dict[str, Any]
    overrides: dict[str, dict[str, Any]] = {}
    questions: dict[str, Question]

    def question(self, name: str, shift: int = 0) -> Question:
        """A question, its seeds shifted.

        Raises:
            UserError: if the profile does not ask it.
        """
        if name not in self.questions:
            raise UserError(f"this profile has no question '{name}' (it has: {', '.join(self.questions)})")
        question = self.questions[name]
        return question.model_copy(update={"seeds": tuple(seed + shift for seed in question.seeds)})


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


def cell_specs(profile: Profile, cell: Cell, seeds: tuple[int, ...]) -> list[RunSpec]:
    """All runs of a cell: methods by seeds, and the controls (item-ID SASRec by seeds, the others once)."""
    specs = [run_spec(profile, cell, method, seed) for method in cell.methods for seed in seeds]
    for control in profile.controls:
        chosen = seeds if control in GRID else seeds[:1]
        specs += [run_spec(profile, cell, control, seed) for seed in chosen]
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


def tune(profile: Profile, store: Store, workers: int | None = None, again: bool = False) -> dict[str, Any]:
    """Runs the grid of every method in every cell with the tuning seed and writes the choices (highest validation NDCG@10).

    Args:
        again: also tune what the table has already; otherwise only what is missing, such as a new method.

    Returns:
        {cell: {method: {"chosen": step size, "valid NDCG@10": {step size: figure}, "best step": {step size: step}}}}
    """
    table = {} if again else step_sizes()
    pairs = {
        (cell.name, method): cell
        for question in profile.questions.values()
        for cell in question.cells
        for method in (*cell.methods, *profile.controls)
        if method in GRID and method not in table.get(cell.name, {})
    }
    plan = [(cell, method, lr, run_spec(profile, cell, method, TUNING_SEED, lr)) for (_, method), cell in pairs.items() for lr in GRID[method]]
    records = run_many([spec for *_, spec in plan], store, workers=workers)
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
