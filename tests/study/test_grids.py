"""Which runs make up a question: variants counted by hand, profiles on profiles, shares of the users, the
dry run.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import yaml

from tests.helpers import command
from transrec_core.adapters.config import AdapterConfig
from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError
from transrec_core.data.loading import DataSpec
from transrec_core.evaluation.ranking import test_cases as cases
from transrec_core.study import step_sizes
from transrec_core.study.grids import (
    load_profile,
    load_study,
    merged,
    question_specs,
    run_spec,
    variant_spec,
    variants,
)
from transrec_core.study.profile import Variant
from transrec_core.study.step_sizes import Untuned
from transrec_core.study.store import Store
from transrec_core.study.tuning import tune
from transrec_core.world.loading import load_domain

STUDY = load_profile("study")


def levels(factor: str) -> list[str]:
    return list(STUDY.factors[factor].levels)


def test_variants_are_single_levels_then_combinations_each_once():
    cell = (
        STUDY.question("rq3")
        .cells[0]
        .model_copy(update={"vary": ("encoder", "size"), "cross": (("position", "form", "size"),)})
    )
    found = variants(STUDY, cell)
    assert len(found) == len(set(found))
    assert found[: len(cell.methods)] == [Variant(method) for method in cell.methods]
    singles = {v.levels for v in found if len(v.levels) == 1}
    assert singles == {((f, level),) for f in ("encoder", "size", "position", "form") for level in levels(f)}
    crossed = {
        v.levels
        for v in found
        if v.method == "houlsby" and {f for f, _ in v.levels} <= {"position", "form", "size"}
    }
    own = [[None, *levels(f)] for f in ("position", "form", "size")]
    by_hand = {
        tuple((f, level) for f, level in zip(("position", "form", "size"), c, strict=True) if level)
        for c in itertools.product(*own)
    }
    assert crossed == by_hand and len(by_hand) == 3 * 2 * 4
    assert {v.method for v in found if v.levels} == {"houlsby"}


def test_a_factor_of_several_methods_gives_each_a_variant():
    cell = STUDY.question("rq4").cells[1]
    found = [v for v in variants(STUDY, cell) if v.levels]
    assert sorted(found) == sorted(
        Variant(m, (("target share", s),))
        for m in STUDY.factors["target share"].methods
        for s in levels("target share")
    )


@pytest.mark.parametrize("name", ["rq3", "rq4"])
def test_a_question_holds_every_variant_with_every_seed_and_no_run_twice(name):
    question = STUDY.question(name)
    plan = question_specs(STUDY, question)
    assert all(run_id == spec.id() for run_id, (_, _, spec) in plan.items())
    for cell in question.cells:
        for variant in variants(STUDY, cell):
            if variant.levels:
                assert [variant_spec(STUDY, cell, variant, seed).id() in plan for seed in question.seeds] == [
                    True
                ] * len(question.seeds)
    made = sum(len(variants(STUDY, cell)) for cell in question.cells) * len(question.seeds)
    controls = len(question.cells) * (
        len(question.seeds) + len(STUDY.controls) - 1
    )  # item-ID SASRec with every seed, the others once
    assert len(plan) == made + controls


def test_the_runs_seed_goes_where_the_factor_says():
    cell = STUDY.question("rq4").cells[0]
    for seed in (1, 4):
        target = variant_spec(STUDY, cell, Variant("full", (("target share", "10 %"),)), seed)
        assert (target.seed, target.target.share, target.target.share_seed, target.source.seed) == (
            seed,
            0.1,
            seed,
            0,
        )
        source = variant_spec(STUDY, cell, Variant("full", (("source share", "10 %"),)), seed)
        assert (
            source.source.data.share,
            source.source.data.share_seed,
            source.source.seed,
            source.target.share,
        ) == (0.1, seed, seed, 1)
    ids = {
        variant_spec(STUDY, cell, Variant("full", (("source share", "10 %"),)), seed).source_id()
        for seed in (1, 4)
    }
    assert len(ids) == 2  # a source model for each seed


def test_a_profile_that_extends_another_keeps_what_it_does_not_say():
    laptop, smoke = load_profile("laptop"), load_profile("smoke")
    for profile in (STUDY, smoke):
        assert (profile.factors, profile.tunings, profile.controls) == (
            laptop.factors,
            laptop.tunings,
            laptop.controls,
        )
    assert smoke.base["training"]["steps"] == 10 and smoke.base["source"] == laptop.base["source"]
    assert smoke.overrides["image"]["source"] == laptop.overrides["image"]["source"]
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "e": 5}) == {
        "a": {"b": 1, "c": 4},
        "d": 3,
        "e": 5,
    }


def test_the_dry_run_prints_a_line_a_run_and_a_total_and_runs_nothing(tmp_path, monkeypatch, capsys):
    smoke, store = load_profile("smoke"), tmp_path / "store"
    plan = question_specs(smoke, smoke.question("rq3"))
    arguments = ("study", "rq3", "--profile", "smoke", "--dry-run", "--store", str(store))
    status, said, errors = command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    *lines, total = said.splitlines()
    assert status == 0 and errors == [] and not store.exists()
    assert [line.split()[0] for line in lines] == list(plan) and all(" to run " in line for line in lines)
    assert total.startswith(f"{len(plan)} runs, {len(plan)} to run")
    assert [
        f" {variant.label()} " in line for line, (_, variant, _) in zip(lines, plan.values(), strict=True)
    ] == [True] * len(plan)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["text", "id"])
def test_smaller_shares_are_part_of_larger_ones_and_everybody_is_tested(modality):
    def domain(share: float, seed: int = 1):
        return load_domain(DataSpec(folder="world:target", modality=modality, share=share, share_seed=seed))

    whole, seen = domain(1.0), []
    assert whole.sample is None
    for share in (0.01, 0.1, 0.5):
        part = domain(share)
        users = part.sample
        assert len(users) == len(np.unique(users)) == round(share * len(whole.interactions))
        assert not seen or set(seen[-1]) < set(users)
        seen.append(users)
        train, valid = part.split.train, cases(part, "valid")
        assert len(train) == len(valid[0]) == len(valid[1]) == len(users)
        for row, user in enumerate(users):
            history = whole.interactions.user(user)
            assert (
                (train.user(row) == history[:-2]).all()
                and (valid[0].user(row) == history[:-2]).all()
                and valid[1][row] == history[-2]
            )
        for name in ("test", "extra"):
            assert (
                cases(part, name)[0].fingerprint() == cases(whole, name)[0].fingerprint()
                and (cases(part, name)[1] == cases(whole, name)[1]).all()
            )
    assert set(domain(0.1, seed=2).sample) != set(domain(0.1).sample)
    assert len({domain(*key).fingerprint() for key in ((1.0,), (0.5,), (0.1,), (0.1, 2))}) == 4


@pytest.mark.parametrize("method", ["full", "scratch", "item_id", "head", "houlsby", "vector"])
def test_the_step_size_that_is_asked_for_is_taken_whatever_grids_there_are(method, monkeypatch):
    """Also for a method that nobody has put a grid down for."""

    class VectorConfig(AdapterConfig):
        method: str = "vector"

    class Vector(METHODS["bitfit"]):
        Config = VectorConfig
        method, grid = "vector", ()

    monkeypatch.setitem(METHODS._classes, "vector", Vector)
    monkeypatch.setattr(step_sizes, "grids", lambda: {})
    spec = run_spec(STUDY, STUDY.question("rq1").cells[0], method, 1, lr=0.02)
    assert set(spec.training.lr.model_dump().values()) == {0.02}


def test_a_method_without_a_step_size_is_refused_not_run_at_a_default(monkeypatch):
    cell = STUDY.question("rq1").cells[0].model_copy(update={"methods": ("full", "vector")})

    class Vector(METHODS["bitfit"]):
        method, grid = "vector", ()

    monkeypatch.setitem(METHODS._classes, "vector", Vector)
    with pytest.raises(Untuned, match="vector has no step size for text-informative-sasrec; `transrec tune`"):
        run_spec(STUDY, cell, "vector", 1)
    untuned: dict[str, str] = {}
    question = STUDY.question("rq1").model_copy(update={"cells": (cell,)})
    assert "vector" not in {v.method for _, v, _ in question_specs(STUDY, question, untuned).values()}
    assert list(untuned) == ["text-informative-sasrec, vector"]
    with pytest.raises(UserError, match="no step sizes to choose from for vector"):
        tune(STUDY.model_copy(update={"questions": {"rq": question}}), Store("nowhere"))


def test_untrained_methods_need_no_step_size_and_unknown_ones_are_named():
    cell = STUDY.question("rq1").cells[0]
    for method in ("popularity", "nearest", "frozen", "untrained", "oracle"):
        assert run_spec(STUDY, cell, method, 1).method == method
    with pytest.raises(UserError, match="no method 'houlsbi'; did you mean 'houlsby'"):
        run_spec(STUDY, cell, "houlsbi", 1)


def test_step_sizes_chosen_for_a_study_come_before_the_profiles(tmp_path):
    table = {"text-informative-sasrec": {"full": {"chosen": 0.5}}}
    (tmp_path / "own.step_sizes.yaml").write_text(yaml.safe_dump(table))
    (tmp_path / "own.yaml").write_text(
        "seeds: [1]\ncells: [{modality: text, methods: [full, head]}]\ncontrols: []\n"
    )
    profile, question = load_study(str(tmp_path / "own.yaml"), "laptop")
    cell = question.cells[0]
    assert profile.step_size(cell, "full") == 0.5
    assert profile.step_size(cell, "head") == STUDY.step_size(cell, "head") != 0.5
    assert STUDY.step_size(cell, "full") != 0.5


def test_a_pair_that_is_called_like_one_of_another_profile_takes_none_of_its_step_sizes(tmp_path):
    assert "instruments-text-sasrec" in step_sizes.step_sizes()
    pair = {"spec": {"encoder": "minilm"}, "grids": {"full": [0.1]}}
    cells = [{"pair": "instruments", "modality": "text", "methods": ["full"]}]
    study = {"seeds": [1], "cells": cells, "pairs": {"instruments": pair}}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(Untuned):
        question_specs(*load_study(str(tmp_path / "own.yaml"), "laptop"))
    real = load_profile("real")
    assert real.step_size(real.question("rq1-instruments").cells[0], "full") > 0
