"""Which runs make up a research question: profiles (how big), cells (which comparison), step sizes (how tuned).

A *cell* is one comparison: a modality, a setting of the titles, an objective, and the methods compared there. A *factor* is one thing
that is varied in a cell (where an adapter sits, how much data there is), each of its levels a few changes of the specification.
"""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import Field, ValidationError, model_validator

from transrec_core.adapters import METHODS
from transrec_core.adapters.base import StrictModel
from transrec_core.errors import UserError
from transrec_core.specs import RunSpec, read_yaml, validated
from transrec_core.tuning import GRID, STEP_SIZES, tuned

PROFILES = Path(__file__).parent / "profiles"


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

    def label(self) -> str:
        """The variant in one line."""
        return " ".join([self.method, *(f"{factor}={level}" for factor, level in self.levels)])


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
    """A profile by name. One that says ``extends: OTHER`` has all that the other has, with its own fields laid over.

    Raises:
        UserError: if there is none of that name.
    """
    return Profile.model_validate(_profile_fields(name))


def _profile_fields(name: str) -> dict[str, Any]:
    path = PROFILES / f"{name}.yaml"
    if name == STEP_SIZES.stem or not path.is_file():
        known = sorted(p.stem for p in PROFILES.glob("*.yaml") if p != STEP_SIZES)
        raise UserError(f"no profile '{name}' (there are: {', '.join(known)})")
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    parent = fields.pop("extends", None)
    return fields if parent is None else merged(_profile_fields(parent), fields)


def load_study(name: str, profile: str) -> tuple[Profile, Question]:
    """A question of a profile by name, or a study of one's own from a YAML file.

    The file has the question's ``seeds`` and ``cells``, and may have ``profile`` (whose base, factors and step sizes it builds on) and ``base``,
    ``overrides``, ``factors`` and ``tunings``, which are laid over the profile's.

    Raises:
        UserError: if there is no such question or file, or a field of it is wrong.
    """
    if not name.endswith((".yaml", ".yml")):
        found = load_profile(profile)
        return found, found.question(name)
    fields = read_yaml(Path(name), "a study's seeds and cells")
    known = ("profile", "seeds", "cells", "base", "overrides", "controls", "factors", "tunings")
    for key in fields:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise UserError(f"{name}: unknown key '{key}'; did you mean '{near}'?")
    parent = _profile_fields(str(fields.pop("profile", profile)))
    question = {key: fields.pop(key) for key in ("seeds", "cells") if key in fields}
    try:
        found = Profile.model_validate(merged(parent, fields) | {"questions": {"study": question}})
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("questions", "study"))
        raise UserError(f"{name}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None
    return found, found.question("study")


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` laid over ``base``, key by key, nested.

    Raises:
        UserError: if a value would take the place of a mapping.
    """
    out = dict(base)
    for key, value in over.items():
        if isinstance(out.get(key), dict) and not isinstance(value, dict | None):
            raise UserError(f"'{key}' is a mapping of keys to values, not {value!r}")
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
        value = tuned(cell.name, method, tuning) if lr is None else lr
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
