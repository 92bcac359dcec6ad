"""Which runs make up a research question: profiles (how big), cells (which comparison), step sizes (how tuned).

A *cell* is one comparison: a modality, a setting of the titles, an objective, and the methods compared there. A *factor* is one thing
that is varied in a cell (where an adapter sits, how much data there is), each of its levels a few changes of the specification. Step sizes are
chosen by ``transrec tune``: every method gets a grid of the same length, one tuning seed that is used for nothing else, and
the validation users; the choice is written to ``profiles/step_sizes.yaml`` with the figures that it rests on.
"""

from __future__ import annotations

import copy
import functools
import itertools
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import Field, model_validator

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


class Factor(StrictModel):
    """One thing that is varied.

    Attributes:
        methods: what it is varied for.
        levels: by name, changes ``{"adapter.position": "ffn"}`` of the specification. The value "=seed" stands for the run's seed; the key ``tuning``
            names the entry of :attr:`Profile.tunings` whose step sizes are used. The level that the cell has anyway is not listed.
    """

    methods: tuple[str, ...] = Field(min_length=1)
    levels: dict[str, dict[str, Any]] = Field(min_length=1)


class Cell(StrictModel):
    """One comparison on the embedded world.

    Attributes:
        methods: compared with each other. vary: names of factors (:attr:`Profile.factors`), varied one at a time.
        cross: groups of factors that are varied together, all combinations of their levels.
    """

    modality: Literal["text", "image"]
    titles: Literal["informative", "vague"] = "informative"
    objective: Literal["sasrec", "cpc"] = "sasrec"
    methods: tuple[str, ...]
    vary: tuple[str, ...] = ()
    cross: tuple[tuple[str, ...], ...] = ()

    @property
    def name(self) -> str:
        """Key of the cell in files: modality, titles, objective."""
        return "-".join([self.modality, *([self.titles] if self.modality == "text" else []), self.objective])

    @property
    def title(self) -> str:
        """The cell in words, for headings."""
        what = {"text": f"{self.titles} titles", "image": "pictures"}[self.modality]
        return f"{what}, {self.objective.upper() if self.objective == 'cpc' else 'SASRec'} objective"


class Variant(NamedTuple):
    """A method with some factors at other levels than the cell's own; with none of them, the method itself."""

    method: str
    levels: tuple[tuple[str, str], ...] = ()  # (factor, level)


class Question(StrictModel):
    """What a research question compares, and with which seeds of the adaptation."""

    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]


class Profile(StrictModel):
    """How big a study is.

    Attributes:
        controls: methods that every cell gets besides its own (one run each if nothing in them is random).
        base: fields of :class:`RunSpec` that all runs share. overrides: fields by modality, laid over the base. questions: by name ("rq1").
        factors: what can be varied, by name. tunings: by name, the changes under which further step sizes are chosen.
    """

    controls: tuple[str, ...]
    base: dict[str, Any]
    overrides: dict[str, dict[str, Any]] = {}
    factors: dict[str, Factor] = {}
    tunings: dict[str, dict[str, Any]] = {}
    questions: dict[str, Question]

    @model_validator(mode="after")
    def _only_known_names(self) -> Profile:
        for name, question in self.questions.items():
            for cell in question.cells:
                for factor in (*cell.vary, *itertools.chain(*cell.cross)):
                    if factor not in self.factors:
                        raise ValueError(f"question {name}, cell {cell.name}: no factor '{factor}' (there are: {', '.join(self.factors)})")
        for name, found in self.factors.items():
            for level, changes in found.levels.items():
                if changes.get("tuning", next(iter(self.tunings), None)) not in (*self.tunings, None):
                    raise ValueError(f"factor {name}, level {level}: no tuning '{changes['tuning']}' (there are: {', '.join(self.tunings)})")
        return self

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


def variants(profile: Profile, cell: Cell) -> list[Variant]:
    """What a cell compares: its methods, its factors one at a time, then their combinations; each once."""
    found = [Variant(method) for method in cell.methods]
    for name in cell.vary:
        found += [Variant(method, ((name, level),)) for level in profile.factors[name].levels for method in profile.factors[name].methods]
    for group in cell.cross:
        methods = [m for m in profile.factors[group[0]].methods if all(m in profile.factors[name].methods for name in group)]
        choices = [[None, *((name, level) for level in profile.factors[name].levels)] for name in group]
        for combination in itertools.product(*choices):
            found += [Variant(method, tuple(pair for pair in combination if pair is not None)) for method in methods]
    return list(dict.fromkeys(found))


def variant_spec(profile: Profile, cell: Cell, variant: Variant, seed: int, lr: float | None = None) -> RunSpec:
    """The specification of one run of a variant; its step size is the one tuned for its method (see :class:`Factor`)."""
    changes: dict[str, Any] = {}
    for factor, level in variant.levels:
        changes |= profile.factors[factor].levels[level]
    return run_spec(profile, cell, variant.method, seed, lr, changes)


def run_spec(
    profile: Profile, cell: Cell, method: str, seed: int, lr: float | None = None, changes: dict[str, Any] | None = None
) -> RunSpec:  # fmt: skip
    """The specification of one run of a cell.

    Args:
        lr: peak learning rate; None takes the tuned one. changes: as in :class:`Factor`.
    """
    changes = dict(changes or {})
    tuning = changes.pop("tuning", None)
    fields = merged(profile.base, profile.overrides.get(cell.modality, {}))
    data = {"modality": cell.modality, "titles": cell.titles}
    fields = merged(fields, {"source": {"data": {"folder": "world:source", **data}}, "target": {"folder": "world:target", **data}})
    fields = merged(fields, {"model": {"objective": cell.objective}, "seed": seed})
    if method in METHODS:
        fields = merged(fields, {"strategy": "adapter", "adapter": {"method": method}})
    else:
        fields = {**fields, "strategy": method, "adapter": None}
    if method in GRID:
        value = tuned(cell, method, tuning) if lr is None else lr
        fields = merged(fields, {"training": {"lr": {part: value for part in ("encoder", "head", "user", "adapter")}}})
    for key, value in changes.items():
        if key.startswith("adapter.") and method not in METHODS:
            raise UserError(f"profile, cell {cell.name}: '{key}' can't be varied for {method}, which is no adapter")
        nested: Any = seed if value == "=seed" else value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        fields = merged(fields, nested)
    return validated(fields, f"profile, cell {cell.name}, method {method}")


def question_specs(profile: Profile, question: Question) -> dict[str, tuple[Cell, Variant, RunSpec]]:
    """All runs of a question by id, in the order of worth: by cells, methods and controls before variants, seeds together."""
    found: dict[str, tuple[Cell, Variant, RunSpec]] = {}
    for cell in question.cells:
        plan = [(Variant(spec.method), spec) for spec in cell_specs(profile, cell, question.seeds)]
        plan += [(v, variant_spec(profile, cell, v, seed)) for v in variants(profile, cell) if v.levels for seed in question.seeds]
        for variant, spec in plan:
            found.setdefault(spec.id(), (cell, variant, spec))
    return found


def cell_specs(profile: Profile, cell: Cell, seeds: tuple[int, ...]) -> list[RunSpec]:
    """The runs of a cell without its variants: methods by seeds, and the controls (item-ID SASRec by seeds, the others once)."""
    specs = [run_spec(profile, cell, method, seed) for method in cell.methods for seed in seeds]
    for control in profile.controls:
        chosen = seeds if control in GRID else seeds[:1]
        specs += [run_spec(profile, cell, control, seed) for seed in chosen]
    return specs


def step_sizes() -> dict[str, Any]:
    """The table that :func:`tune` wrote: {cell, or cell and tuning: {method: {"chosen", "valid NDCG@10", "best step"}}}. Not to be changed."""
    return _read_step_sizes(STEP_SIZES.stat().st_mtime_ns) if STEP_SIZES.exists() else {}


@functools.lru_cache(maxsize=1)
def _read_step_sizes(changed: int) -> dict[str, Any]:
    return dict(yaml.safe_load(STEP_SIZES.read_text(encoding="utf-8")))


def tuning_name(cell: Cell, tuning: str | None) -> str:
    """Key of a cell's step sizes, under a tuning of its own if it names one."""
    return cell.name if tuning is None else f"{cell.name}-{tuning}"


def tuned(cell: Cell, method: str, tuning: str | None = None) -> float:
    """The chosen step size of a method in a cell.

    Raises:
        UserError: if it was never tuned.
    """
    name = tuning_name(cell, tuning)
    try:
        return float(step_sizes()[name][method]["chosen"])
    except KeyError:
        raise UserError(f"{method} has no step size for {name}; `transrec tune` chooses one") from None


def tune(profile: Profile, store: Store, workers: int | None = None, again: bool = False) -> dict[str, Any]:
    """Runs the grid of every method in every cell with the tuning seed and writes the choices (highest validation NDCG@10).

    Args:
        again: also tune what the table has already; otherwise only what is missing, such as a new method.

    Returns:
        {cell: {method: {"chosen": step size, "valid NDCG@10": {step size: figure}, "best step": {step size: step}}}}
    """
    table = {} if again else copy.deepcopy(step_sizes())
    wanted: dict[tuple[str, str], tuple[Cell, dict[str, Any]]] = {}
    for cell in (cell for question in profile.questions.values() for cell in question.cells):
        for method in (*cell.methods, *profile.controls):
            wanted.setdefault((cell.name, method), (cell, {}))
        for factor in (profile.factors[name] for name in cell.vary):
            for tuning in {changes["tuning"] for changes in factor.levels.values() if "tuning" in changes}:
                for method in factor.methods:
                    wanted.setdefault((tuning_name(cell, tuning), method), (cell, profile.tunings[tuning]))
    plan = [
        (name, method, lr, run_spec(profile, cell, method, TUNING_SEED, lr, changes))
        for (name, method), (cell, changes) in wanted.items() if method in GRID and method not in table.get(name, {}) for lr in GRID[method]
    ]  # fmt: skip
    records = run_many([spec for *_, spec in plan], store, workers=workers)
    for (name, method, lr, _), record in zip(plan, records, strict=True):
        entry = table.setdefault(name, {}).setdefault(method, {"chosen": None, "valid NDCG@10": {}, "best step": {}})
        entry["valid NDCG@10"][lr] = round(record.facts["valid"]["NDCG@10"], 4)
        entry["best step"][lr] = record.facts["best_step"]
    for methods in table.values():
        for entry in methods.values():
            entry["chosen"] = max(entry["valid NDCG@10"], key=entry["valid NDCG@10"].get)
    head = "# Written by `transrec tune`: validation figures of the tuning seed and the step size chosen from them. Do not edit.\n"
    atomic_write(STEP_SIZES, head + yaml.safe_dump(table, sort_keys=False))
    return table
