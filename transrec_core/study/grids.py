"""Which runs make up a research question: profiles by name, and the specification of every run that they
ask for.
"""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError
from transrec_core.data.loading import filter_effects
from transrec_core.study.profile import Cell, Profile, Question, Variant
from transrec_core.study.specs import RunSpec, read_yaml, validated
from transrec_core.study.step_sizes import PROFILES, STEP_SIZES, Untuned, grids, tuned


def load_profile(name: str) -> Profile:
    """A profile by name. One that says ``extends: OTHER`` has all that the other has, with its own fields
    laid over.

    Raises:
        UserError: if there is none of that name.
    """
    return Profile.model_validate(_profile_fields(name))


def _profile_fields(name: str) -> dict[str, Any]:
    path = PROFILES / f"{name}.yaml"
    if name.startswith(STEP_SIZES) or not path.is_file():
        known = sorted(p.stem for p in PROFILES.glob("*.yaml") if not p.stem.startswith(STEP_SIZES))
        raise UserError(f"no profile '{name}' (there are: {', '.join(known)})")
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    parent = fields.pop("extends", None)
    return fields if parent is None else merged(_profile_fields(parent), fields)


def load_study(name: str, profile: str) -> tuple[Profile, Question]:
    """A question of a profile by name, or a study of one's own from a YAML file.

    The file has the question's ``seeds`` and ``cells``, and may have ``profile`` (whose base, factors and
    step sizes it builds on) and ``base``, ``overrides``, ``pairs``, ``factors`` and ``tunings``, which are
    laid over the profile's.

    Raises:
        UserError: if there is no such question or file, or a field of it is wrong.
    """
    if not name.endswith((".yaml", ".yml")):
        found = load_profile(profile)
        return found, found.question(name)
    fields = read_yaml(Path(name), "a study's seeds and cells")
    known = ("profile", "seeds", "cells", "base", "overrides", "controls", "pairs", "factors", "tunings")
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
        raise UserError(
            f"{name}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from None
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
        out[key] = (
            merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
        )
    return out


def variants(profile: Profile, cell: Cell) -> list[Variant]:
    """What a cell compares: its methods, its factors one at a time, then their combinations; each once."""
    found = [Variant(method) for method in cell.methods]
    for name in cell.vary:
        found += [
            Variant(method, ((name, level),))
            for level in profile.factors[name].levels
            for method in profile.factors[name].methods
        ]
    for group in cell.cross:
        methods = [
            m
            for m in profile.factors[group[0]].methods
            if all(m in profile.factors[name].methods for name in group)
        ]
        choices = [[None, *((name, level) for level in profile.factors[name].levels)] for name in group]
        for combination in itertools.product(*choices):
            found += [
                Variant(method, tuple(pair for pair in combination if pair is not None)) for method in methods
            ]
    return list(dict.fromkeys(found))


def variant_spec(
    profile: Profile, cell: Cell, variant: Variant, seed: int, lr: float | None = None
) -> RunSpec:
    """The specification of one run of a variant; its step size is the one tuned for its method (see
    :class:`Factor`).
    """
    changes: dict[str, Any] = {}
    for factor, level in variant.levels:
        changes |= profile.factors[factor].levels[level]
    return run_spec(profile, cell, variant.method, seed, lr, changes)


def run_spec(
    profile: Profile,
    cell: Cell,
    method: str,
    seed: int,
    lr: float | None = None,
    changes: dict[str, Any] | None = None,
) -> RunSpec:
    """The specification of one run of a cell.

    Args:
        lr: peak learning rate; None takes the tuned one.
        changes: as in :class:`Factor`.
    """
    changes = dict(changes or {})
    tuning = changes.pop("tuning", None)
    fields = merged(profile.base, profile.overrides.get(cell.modality, {}))
    if cell.pair is None:
        data = {"modality": cell.modality, "titles": cell.titles}
        fields = merged(
            fields,
            {
                "source": {"data": {"folder": "world:source", **data}},
                "target": {"folder": "world:target", **data},
            },
        )
    else:
        data = {"modality": cell.modality}
        fields = merged(
            merged(fields, profile.pairs[cell.pair].spec), {"source": {"data": data}, "target": data}
        )
    fields = merged(fields, {"model": {"objective": cell.objective}, "seed": seed})
    if method in METHODS:
        fields = merged(fields, {"strategy": "adapter", "adapter": {"method": method}})
    else:
        fields = {**fields, "strategy": method, "adapter": None}
    if method in grids():
        value = tuned(cell.name, method, tuning) if lr is None else lr
        fields = merged(
            fields, {"training": {"lr": {part: value for part in ("encoder", "head", "user", "adapter")}}}
        )
    if cell.pair is not None:
        fields = merged(fields, profile.pairs[cell.pair].by_method.get(method, {}))
    for key, value in changes.items():
        if key.startswith("adapter.") and method not in METHODS:
            raise UserError(
                f"profile, cell {cell.name}: '{key}' can't be varied for {method}, which is no adapter"
            )
        nested: Any = seed if value == "=seed" else value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        fields = merged(fields, nested)
    return validated(fields, f"profile, cell {cell.name}, method {method}")


def planned(profile: Profile, cell: Cell, seeds: tuple[int, ...]) -> dict[Variant, tuple[int, ...]]:
    """What a cell runs, with which seeds, in the order of worth: its methods, the controls (what is random
    in them with every seed, the others once), then what is varied.
    """
    found = {Variant(method): seeds for method in cell.methods}
    for control in profile.controls_of(cell):
        found.setdefault(Variant(control), seeds if control in grids() else seeds[:1])
    return found | {variant: seeds for variant in variants(profile, cell) if variant.levels}


def question_specs(
    profile: Profile, question: Question, untuned: dict[str, str] | None = None
) -> dict[str, tuple[Cell, Variant, RunSpec]]:
    """All runs of a question by id, in the order of worth: by cells, methods and controls before variants,
    seeds together.

    Args:
        untuned: takes, by cell and variant, what has no step size yet and is left out; None lets that be an
            error.
    """
    found: dict[str, tuple[Cell, Variant, RunSpec]] = {}
    for cell in question.cells:
        for variant, seeds in planned(profile, cell, question.seeds).items():
            try:
                specs = [variant_spec(profile, cell, variant, seed) for seed in seeds]
            except Untuned as error:
                if untuned is None:
                    raise
                untuned[f"{cell.name}, {variant.label()}"] = str(error)
                continue
            for spec in specs:
                found.setdefault(spec.id(), (cell, variant, spec))
    return found


def cell_specs(profile: Profile, cell: Cell, seeds: tuple[int, ...]) -> list[RunSpec]:
    """The runs of a cell without its variants: methods by seeds, and the controls (item-ID SASRec by
    seeds, the others once).
    """
    plan = planned(profile, cell, seeds)
    return [
        run_spec(profile, cell, variant.method, seed)
        for variant, own in plan.items()
        if not variant.levels
        for seed in own
    ]


def pair_effects(profile: Profile, data_root: Path) -> dict[str, dict[str, Any]]:
    """What the filters did to the source and the target of each pair that a profile uses, see
    :func:`transrec_core.data.loading.filter_effects`.
    """
    cells = {
        cell.pair: cell for question in profile.questions.values() for cell in question.cells if cell.pair
    }
    specs = {name: run_spec(profile, cell, "popularity", 0) for name, cell in cells.items()}
    found = {name: {"source": spec.source.data, "target": spec.target} for name, spec in specs.items()}
    effects = {
        data: filter_effects(data, data_root) for parts in found.values() for data in set(parts.values())
    }
    return {name: {part: effects[data] for part, data in parts.items()} for name, parts in found.items()}
