"""The study on real data: pairs in profiles, encoders built from folders, cold targets, the
nearest-content control, what filters do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import command, has_minilm
from transrec_core.base.errors import UserError
from transrec_core.data.loading import DataSpec, filter_effects, filter_steps, filtered
from transrec_core.data.raw import item_users
from transrec_core.data.readers import read_folder
from transrec_core.evaluation.cold import cold_targets, packed_bits, unpacked_bits
from transrec_core.evaluation.controls import nearest_ranks
from transrec_core.evaluation.ranking import test_cases as cases
from transrec_core.evaluation.statistics import RELATIVE_MARGIN
from transrec_core.models import ModelSpec, TransRec
from transrec_core.report.cold import by_targets, cold_cases
from transrec_core.report.variants import cell_runs
from transrec_core.study import step_sizes, tuning
from transrec_core.study.executors import run_many
from transrec_core.study.grids import load_profile, planned, question_specs, run_spec, variant_spec
from transrec_core.study.profile import Profile, Variant
from transrec_core.study.stages import build_backbone
from transrec_core.study.store import Store
from transrec_core.world import encoders
from transrec_core.world.loading import load_domain

REAL = load_profile("real")
CELLS = {cell.name: cell for question in REAL.questions.values() for cell in question.cells}
DATA = Path(os.environ.get("TRANSREC_DATA") or Path(__file__).parents[3] / "shared" / "data")
PAGE = Path(__file__).parents[2] / "book" / "protocol_real.md"


def small(**more) -> dict:
    """A profile with one pair, the folders "a" and "b"."""
    steps = {"steps": 4, "min_steps": 0, "eval_every": 2, "batch_size": 16}
    data = {"image_size": 32}
    pair = {
        "spec": {
            "encoder": "fresh-vit",
            "source": {"data": {"folder": "a", **data}, "training": steps},
            "target": {"folder": "b", **data},
        },
        "grids": dict.fromkeys(("full", "houlsby", "item_id"), (0.001, 0.002)),
        "by_method": {"full": {"training": {"lr": {"user": 0.5}}}},
    }
    cell = {"pair": "shop", "modality": "image", "methods": ["full", "houlsby"], "vary": ["where"]}
    return {
        "controls": ["nearest", "popularity", "item_id"],
        "base": {"model": {"dim": 16, "max_len": 8}, "training": steps},
        "pairs": {"shop": pair},
        "factors": {"where": {"methods": ["houlsby"], "levels": {"ffn": {"adapter.position": "ffn"}}}},
        "step_sizes": "step_sizes_small",
        "questions": {"rq": {"seeds": [1, 2], "cells": [cell]}},
    } | more


@pytest.fixture
def own_table(tmp_path, monkeypatch) -> Path:
    """Step sizes are read from, and written to, a folder of the test's own."""
    monkeypatch.setattr(step_sizes, "PROFILES", tmp_path / "profiles")
    return tmp_path / "profiles" / "step_sizes_small.yaml"


def test_every_run_of_the_profile_is_a_valid_specification_of_its_pair():
    for cell in CELLS.values():
        assert (
            cell.name.startswith(f"{cell.pair}-{cell.modality}-")
            and cell.pair.partition("-")[0] in cell.title
        )
        for method, grid in REAL.grid_of(cell).items():
            assert len(grid) == 3
            spec = run_spec(REAL, cell, method, 1, grid[0])
            assert (
                not spec.target.is_world
                and spec.target.modality == spec.source.data.modality == cell.modality
            )
            lr, two_part = spec.training.lr, method in ("full", "scratch")
            assert lr.encoder == grid[0] and (lr.head, lr.user) == (
                (1e-3, 1e-3) if two_part else (grid[0], grid[0])
            )
    names = [variant.method for cell in CELLS.values() for variant in planned(REAL, cell, (1,))]
    assert {"popularity", "item_id", "untrained", "scratch", "frozen", "nearest"} <= set(
        names
    ) and "oracle" not in names
    assert (
        len({run_spec(REAL, cell, "frozen", 1).source_id() for cell in CELLS.values()}) == 4
    )  # photos start where films start


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": {}}, "no pair 'shop'"),
        (
            {"pairs": {"shop": {"spec": {}, "grids": {"full": [0.1], "head": [0.1, 0.2]}}}},
            "the same number of step sizes",
        ),
        ({"pairs": {"shop": {"spec": {}, "grids": {"full": [0.1]}, "grid": {}}}}, "did you mean 'grids'"),
    ],
)
def test_mistakes_in_pairs_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Profile.model_validate(small(**change))


@pytest.mark.slow
def test_a_pair_is_tuned_run_packed_and_compared(folders, own_table, tmp_path, monkeypatch, capsys):
    profile, store = Profile.model_validate(small()), Store(tmp_path / "store")
    question, untuned = profile.question("rq"), {}
    cell = question.cells[0]
    plan = question_specs(profile, question, untuned)
    assert {variant.method for _, variant, _ in plan.values()} == {"nearest", "popularity"} and len(
        untuned
    ) == 4
    with pytest.raises(UserError, match="transrec tune"):
        question_specs(profile, question)
    with pytest.raises(UserError, match="no question 'rq9'"):
        tuning.tune(profile, store, 1, data_root=folders, only=["rq9"])
    table = tuning.tune(profile, store, 1, data_root=folders)
    assert yaml.safe_load(own_table.read_text()) == table == step_sizes.step_sizes()
    assert set(table) == {"shop-image-sasrec"} and set(table["shop-image-sasrec"]) == {
        "full",
        "houlsby",
        "item_id",
    }
    plan = question_specs(profile, question)
    records = run_many([spec for _, _, spec in plan.values()], store, folders, 1)
    assert (
        len(records) == len(plan) == 2 * 4 + 2
    )  # two seeds of full, houlsby, its variant and item-ID; two controls once
    chosen = table["shop-image-sasrec"]["full"]["chosen"]
    full = next(r for r in records if r.spec.strategy == "full")
    assert (full.spec.training.lr.encoder, full.spec.training.lr.user) == (chosen, 0.5)
    found, missing = cell_runs(profile, cell, (1, 2, 3), store)
    assert set(found) == {Variant("nearest"), Variant("popularity")} and Variant("full") in missing
    found, missing = cell_runs(profile, cell, (1, 2, 3), store, partial=True)
    assert (
        not missing and len(found[Variant("full")]) == 2 and Variant("houlsby", (("where", "ffn"),)) in found
    )
    domain = load_domain(DataSpec(folder="b", modality="image", image_size=32), folders)
    for record in records:
        assert (cold_cases(record) == cold_targets(domain)).all() and record.facts[
            "cold_cases"
        ] == cold_targets(domain).sum()

    monkeypatch.setattr("transrec_core.study.grids._profile_fields", lambda name: small())
    arguments = (
        "pack",
        str(tmp_path / "shelf"),
        "--profile",
        "small",
        "--store",
        str(store.root),
        "--data-root",
        str(folders),
    )
    status, said, _ = command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 0 and f"{len(plan)} records" in said  # the runs of the tuning stay behind
    assert set(Store(tmp_path / "shelf").ids()) == set(plan)
    assert json.loads((tmp_path / "shelf" / "pairs.json").read_text())["shop"]["target"]["targets"] == len(
        cold_targets(domain)
    )
    packed = cell_runs(profile, cell, (1, 2), Store(tmp_path / "shelf"))[0]
    for parts in by_targets({v.label(): runs for v, runs in packed.items()}).values():
        weighted = sum(parts[part].mean * parts[part].cases for part in ("warm", "cold") if part in parts)
        assert parts["all"].mean == pytest.approx(weighted / parts["all"].cases, abs=1e-5)
        assert all(q.low <= q.mean + 1e-8 and q.mean <= q.high + 1e-8 for q in parts.values())


@given(st.lists(st.booleans(), max_size=70))
def test_bits_come_back(flags):
    assert unpacked_bits(packed_bits(np.array(flags, dtype=bool)), len(flags)).tolist() == flags


@pytest.mark.slow
def test_cold_and_nearest_are_what_plain_loops_say(folders, tmp_path):
    domain = load_domain(DataSpec(folder="b", modality="image", image_size=32, share=0.2), folders)
    histories, targets = cases(domain, "test")
    trained_on = {item for u in range(len(domain.split.train)) for item in domain.split.train.user(u)}
    assert (
        cold_targets(domain).tolist() == [target not in trained_on for target in targets]
        and cold_targets(domain).any()
    )
    profile = Profile.model_validate(small())
    few = run_spec(profile, profile.question("rq").cells[0], "popularity", 1)
    few = few.model_copy(update={"target": few.target.model_copy(update={"share": 0.2})})
    (record,) = run_many([few], Store(tmp_path), folders, 1)
    assert record.facts["cold_median_rank"] == np.median(record.ranks[cold_targets(domain)])
    spec = ModelSpec(dim=16, max_len=3)
    model = TransRec.from_backbone(build_backbone("fresh-vit", "", spec, 0, 32, False), spec, 0)
    states = model.pooled_catalogue(domain.catalog).double().numpy()
    unit = states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
    ranks = nearest_ranks(model, domain)
    for user, target in enumerate(targets):
        had = histories.user(user)
        mean = unit[had[-3:]].mean(0)
        scores = unit @ mean / np.linalg.norm(mean)
        others = [i for i in range(1, len(unit)) if i not in had and i != target]
        ahead = (
            (scores[others] > scores[target] + 1e-6).sum(),
            (scores[others] >= scores[target] - 1e-6).sum(),
        )
        assert 1 + ahead[0] <= ranks[user] <= 1 + ahead[1]


def test_the_steps_of_the_filters_end_where_the_filters_end(folders):
    spec = DataSpec(folder="a", modality="text", half=1, min_item=3, max_users=15, last=6)
    raw = read_folder(folders / "a")
    steps = list(filter_steps(raw, spec))
    assert (
        steps[-1][1].interactions.fingerprint() == filtered(raw, spec).interactions.fingerprint()
        and len(steps) == 4
    )
    effects = filter_effects(spec, folders)
    domain = load_domain(spec, folders, encoders.tokenizer_of("minilm")) if has_minilm() else None
    for key in ("users", "items", "interactions"):
        counts = [step[key] for step in effects["steps"]]
        assert counts == sorted(counts, reverse=True)
    assert effects["targets with another's title"] == 0
    if domain is not None:
        assert effects["cold targets"] == cold_targets(domain).sum() and effects["targets"] == len(
            cold_targets(domain)
        )


@pytest.mark.skipif(not (DATA / "ml1m").is_dir(), reason="the real data set ml1m is not here")
def test_the_films_of_a_pair_and_their_users_are_disjoint():
    cell = CELLS["films-titles-text-sasrec"]
    spec = run_spec(REAL, cell, "popularity", 1)
    raw = read_folder(DATA / "ml1m")
    source, target = (filtered(raw, data) for data in (spec.source.data, spec.target))
    assert (
        not set(source.item_ids[1:]) & set(target.item_ids[1:])
        and len(source.item_ids) > 1000
        and len(target.item_ids) > 1000
    )
    assert {spec.source.data.half, spec.target.half} == {0, 1}
    assert (item_users(source.interactions) > 0).sum() > 1000


def test_the_protocol_page_states_the_profile():
    page = PAGE.read_text(encoding="utf-8")
    assert list(REAL.questions) == [
        line.split("`")[1] for line in page.splitlines() if line.startswith("| `")
    ]
    for name, question in REAL.questions.items():
        assert f"| `{name}` | {question.seeds[0]} to {question.seeds[-1]} |" in page
    for cell in CELLS.values():
        for method in REAL.grid_of(cell):
            assert ", ".join(f"{lr:g}" for lr in REAL.grid_of(cell)[method]) in page, (cell.name, method)
        spec = run_spec(REAL, cell, "full", 1, 1e-3)
        source, target = spec.source.training, spec.training
        assert (
            f"{source.steps} steps of {source.batch_size}, {target.steps} steps of {target.batch_size}"
            in page
        )
    for recipe in encoders.RECIPES.values():
        assert f"{recipe.steps:,} steps of {recipe.batch}" in page
    assert f"{100 * RELATIVE_MARGIN:.0f} % of full fine-tuning's" in page
    for factor in REAL.factors.values():
        for method in factor.methods:
            assert variant_spec(REAL, CELLS["films-image-sasrec"], Variant(method), 1, 1e-3)
