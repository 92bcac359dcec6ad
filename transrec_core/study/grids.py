"""Which runs make up a research question: profiles by name, and the specification of every run that they
ask for.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from transrec_core.adapters.registry import METHODS
from transrec_core.base.config import first_problem, nearest
from transrec_core.base.errors import UserError
from transrec_core.data.loading import filter_effects
from transrec_core.study.profile import Cell, Profile, Question, Variant
from transrec_core.study.specs import STRATEGIES, TRAINED, RunSpec, read_yaml, validated
from transrec_core.study.step_sizes import PROFILES, STEP_SIZES, Untuned, study_table

#: What a study's own file may have.
STUDY_KEYS = ("profile", "seeds", "cells", "base", "overrides", "controls", "pairs", "factors", "tunings")


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


def is_study_file(name: str) -> bool:
    """Whether a study is named by its own file, and not as a question of a profile."""
    return name.endswith((".yaml", ".yml"))


def load_study(name: str, profile: str) -> tuple[Profile, Question]:
    """A question of a profile by name, or a study of one's own from a YAML file.

    The file has the question's ``seeds`` and ``cells``, and may have ``profile`` (whose base, factors and
    step sizes it builds on) and ``base``, ``overrides``, ``controls``, ``pairs``, ``factors`` and
    ``tunings``, which are laid over the profile's.

    Args:
        name: of the question, or path of the file.
        profile: which profile is asked, unless a file names another.

    Raises:
        UserError: if there is no such question or file, or a field of it is wrong.
    """
    if not is_study_file(name):
        asked = load_profile(profile)
        return asked, asked.question(name)
    fields = read_yaml(Path(name), "a study's seeds and cells")
    for key in fields:
        if key not in STUDY_KEYS:
            raise UserError(f"{name}: unknown key '{key}'; {nearest(key, STUDY_KEYS)}")
    parent = _profile_fields(str(fields.pop("profile", profile)))
    question = {key: fields.pop(key) for key in ("seeds", "cells") if key in fields}
    laid_over = {"questions": {"study": question}, "own_step_sizes": study_table(Path(name))}
    try:
        asked = Profile.model_validate(merged(parent, fields) | laid_over)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except ValidationError as error:
        raise UserError(f"{name}: {first_problem(error, 'questions', 'study')}") from None
    return asked, asked.question("study")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping laid over another, key by key, nested.

    Args:
        base: what counts where the other says nothing.
        over: what counts where it says something.

    Raises:
        UserError: if a value would take the place of a mapping.
    """
    out = dict(base)
    for key, value in over.items():
        below = out.get(key)
        if isinstance(below, dict) and not isinstance(value, dict | None):
            raise UserError(f"'{key}' is a mapping of keys to values, not {value!r}")
        out[key] = merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return out


def variants(profile: Profile, cell: Cell) -> list[Variant]:
    """What a cell compares: its methods, its factors one at a time, then their combinations; each once."""
    factors = profile.factors
    listed = [Variant(method) for method in cell.methods]
    for name in cell.vary:
        levels, methods = factors[name].levels, factors[name].methods
        listed += [Variant(method, ((name, level),)) for level in levels for method in methods]
    for group in cell.cross:
        shared = [m for m in factors[group[0]].methods if all(m in factors[name].methods for name in group)]
        choices = [[None, *((name, level) for level in factors[name].levels)] for name in group]
        for combination in itertools.product(*choices):
            chosen = tuple(pair for pair in combination if pair is not None)
            listed += [Variant(method, chosen) for method in shared]
    return list(dict.fromkeys(listed))


def variant_spec(
    profile: Profile, cell: Cell, variant: Variant, seed: int, lr: float | None = None
) -> RunSpec:
    """The specification of one run of a variant; its step size is the one tuned for its method (see
    :class:`Factor`).

    Args:
        profile: where the cell is from.
        cell: the comparison.
        variant: what of it is run.
        seed: of the adaptation.
        lr: peak learning rate; None takes the tuned one.
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
    changes: Mapping[str, Any] | None = None,
) -> RunSpec:
    """The specification of one run of a cell.

    Args:
        profile: where the cell is from.
        cell: the comparison.
        method: a strategy, or an adapter's method.
        seed: of the adaptation.
        lr: peak learning rate of all that trains; None takes the tuned one.
        changes: as in :class:`Factor`.

    Raises:
        Untuned: if the method trains, and no step size is given or tuned.
        UserError: if there is no such method, or a change does not fit.
    """
    check_method(cell, method)
    changes = dict(changes or {})
    tuning = changes.pop("tuning", None)
    adapter = {"adapter": {"method": method}, "strategy": "adapter"}
    fields = merged(_cell_fields(profile, cell), {"seed": seed})
    fields = merged(fields, adapter) if method in METHODS else fields | {"strategy": method, "adapter": None}
    if trains(method):
        value = profile.step_size(cell, method, tuning) if lr is None else lr
        parts = dict.fromkeys(("encoder", "head", "user", "adapter"), value)
        fields = merged(fields, {"training": {"lr": parts}})
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


def check_method(cell: Cell, method: str) -> None:
    """Refuses what is neither a strategy nor an adapter's method.

    Raises:
        UserError: names the nearest.
    """
    if method not in METHODS and method not in STRATEGIES:
        known = nearest(method, [*METHODS, *STRATEGIES])
        raise UserError(f"profile, cell {cell.name}: no method '{method}'; {known}")


def _cell_fields(profile: Profile, cell: Cell) -> dict[str, Any]:
    """What all runs of a cell share."""
    fields = merged(profile.base, profile.overrides.get(cell.modality, {}))
    data: dict[str, str] = {"modality": cell.modality}
    if cell.pair is None:
        data["titles"] = cell.titles
        places = {
            "source": {"data": {"folder": "world:source", **data}},
            "target": {"folder": "world:target", **data},
        }
    else:
        fields = merged(fields, profile.pairs[cell.pair].spec)
        places = {"source": {"data": data}, "target": data}
    return merged(merged(fields, places), {"model": {"objective": cell.objective}})


def trains(method: str) -> bool:
    """Whether a strategy or an adapter's method trains anything, and so needs a step size."""
    return method in METHODS or method in TRAINED


def planned(profile: Profile, cell: Cell, seeds: tuple[int, ...]) -> dict[Variant, tuple[int, ...]]:
    """What a cell runs, in the order of worth: its methods, the controls, then what is varied.

    Args:
        profile: where the cell is from.
        cell: the comparison.
        seeds: of the question.

    Returns:
        The seeds of each variant; a control in which nothing is random has the first only.
    """
    plan = {Variant(method): seeds for method in cell.methods}
    for control in profile.controls_of(cell):
        plan.setdefault(Variant(control), seeds if trains(control) else seeds[:1])
    return plan | {variant: seeds for variant in variants(profile, cell) if variant.levels}


def question_specs(
    profile: Profile, question: Question, untuned: dict[str, str] | None = None
) -> dict[str, tuple[Cell, Variant, RunSpec]]:
    """All runs of a question, in the order of worth: by cells, methods and controls before variants, seeds
    together.

    Args:
        profile: where the question is from.
        question: what is asked.
        untuned: takes, by cell and variant, what has no step size yet and is left out; None lets that be an
            error.

    Returns:
        Cell, variant and specification by the run's id.
    """
    plan: dict[str, tuple[Cell, Variant, RunSpec]] = {}
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
                plan.setdefault(spec.id(), (cell, variant, spec))
    return plan


def cell_specs(profile: Profile, cell: Cell, seeds: tuple[int, ...]) -> list[RunSpec]:
    """The runs of a cell without its variants, see :func:`planned`."""
    plan = {variant: each for variant, each in planned(profile, cell, seeds).items() if not variant.levels}
    return [run_spec(profile, cell, variant.method, seed) for variant, each in plan.items() for seed in each]


def pair_effects(profile: Profile, data_root: Path) -> dict[str, dict[str, Any]]:
    """What the filters did to the source and the target of each pair that a profile uses.

    Args:
        profile: any.
        data_root: where relative folders start.

    Returns:
        Of each pair, for "source" and "target", what :func:`transrec_core.data.loading.filter_effects` says.
    """
    cells = {
        cell.pair: cell for question in profile.questions.values() for cell in question.cells if cell.pair
    }
    specs = {name: run_spec(profile, cell, "popularity", 0) for name, cell in cells.items()}
    data = {name: {"source": spec.source.data, "target": spec.target} for name, spec in specs.items()}
    effects = {
        each: filter_effects(each, data_root) for parts in data.values() for each in set(parts.values())
    }
    return {name: {part: effects[each] for part, each in parts.items()} for name, parts in data.items()}
