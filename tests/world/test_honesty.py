"""What makes a comparison in the embedded world worth reading: there is something to learn, and it is
learnt.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from transrec_core.evaluation.controls import popularity_ranks
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import model_ranks
from transrec_core.study.grids import cell_specs, load_profile, run_spec, variants
from transrec_core.study.run import run
from transrec_core.study.sources import FOLDER, wanted
from transrec_core.study.stages import build_model, initial_model
from transrec_core.study.step_sizes import grids, step_sizes
from transrec_core.study.store import Store
from transrec_core.world.encoders import ASSETS
from transrec_core.world.loading import load_domain

LAPTOP = load_profile("laptop")
QUESTIONS = LAPTOP.questions.values()
CELLS = {cell.name: cell for question in QUESTIONS for cell in question.cells}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text-informative-sasrec", "text-vague-sasrec", "image-sasrec"])
def test_full_fine_tuning_reaches_most_of_the_oracle_and_beats_an_untrained_network(name, tmp_path):
    full, oracle, untrained, popularity = (
        run(run_spec(LAPTOP, CELLS[name], method, seed=1), Store(tmp_path), show_progress=False).metrics[
            "HR@10"
        ]
        for method in ("full", "oracle", "untrained", "popularity")
    )
    assert 0.6 * oracle <= full <= oracle
    assert popularity <= 0.25 * oracle
    assert untrained <= popularity


def test_frozen_is_the_shipped_source_model_and_beats_popularity():
    spec = run_spec(LAPTOP, CELLS["text-informative-sasrec"], "frozen", seed=1)
    target = load_domain(spec.target)
    model = build_model(spec, Store("unused"), Path(), target)
    assert model.trainable_parameters()[0] == 0
    assert metrics(model_ranks(model, target, "all"))["HR@10"] > metrics(popularity_ranks(target))["HR@10"]


def test_no_source_starts_where_the_source_stage_started():
    spec = run_spec(LAPTOP, CELLS["text-informative-sasrec"], "scratch", seed=3)
    control = build_model(spec, Store("unused"), Path(), load_domain(spec.target))
    start = initial_model(spec, Store("unused"), Path())
    assert all(
        (a == b).all()
        for a, b in zip(control.state_dict().values(), start.state_dict().values(), strict=True)
    )


def test_source_models_of_the_live_profiles_are_shipped_and_no_others():
    there = {p.name for p in FOLDER.iterdir()}
    assert there == set(wanted())
    assert sum(p.stat().st_size for p in ASSETS.rglob("*.safetensors")) < 2_500_000


def test_step_sizes_were_chosen_by_the_protocol():
    """Grids of one length; every choice is the best validation figure of its own row."""
    assert len({len(grid) for grid in grids().values()}) == 1
    table = step_sizes()
    for question, cell in [(q, c) for q in QUESTIONS for c in q.cells]:
        for spec in cell_specs(LAPTOP, cell, question.seeds):
            if spec.method in grids():
                entry = table[cell.name][spec.method]
                assert list(entry["valid NDCG@10"]) == list(grids()[spec.method])
                assert entry["valid NDCG@10"][entry["chosen"]] == max(entry["valid NDCG@10"].values())
                assert spec.training.lr.adapter == entry["chosen"]


def test_the_protocol_page_states_the_profile():
    page = (Path(__file__).parents[2] / "book" / "protocol.md").read_text(encoding="utf-8")
    text, image = (
        run_spec(LAPTOP, CELLS[n], "full", 1).training for n in ("text-informative-sasrec", "image-sasrec")
    )
    assert (
        f"{text.steps} steps for titles, {image.steps} for pictures" in page
        and f"{text.batch_size} users" in page
    )
    assert (text.loss, image.loss) == ("batch", "batch")
    study = load_profile("study")
    assert {name: q.seeds for name, q in LAPTOP.questions.items()} == {
        "rq1": (1, 2, 3),
        "rq2": (1,),
        "rq3": (1,),
        "rq4": (1,),
    }
    assert {q.seeds for q in study.questions.values()} == {
        (1, 2, 3, 4, 5)
    } and "1 to 5 for every question" in page
    for method, grid in grids().items():
        assert ", ".join(f"{lr:g}" for lr in grid) in page, method


def test_the_protocol_page_states_the_factors():
    page, study = (
        (Path(__file__).parents[2] / "book" / "protocol.md").read_text(encoding="utf-8"),
        load_profile("study"),
    )
    text = study.question("rq3").cells[0]
    base = run_spec(study, text, "houlsby", 1).adapter
    assert (
        base is not None
        and f"size {base.item_size} in the item and {base.user_size} in the user encoder" in page
    )
    assert (base.encoders, base.layers, base.form, base.activation) == ("both", "all", "serial", "gelu")
    assert (base.train_head, base.train_layernorm, base.train_embeddings) == (True, False, False)
    crossed = {
        v
        for v in variants(study, text)
        if v.method == "houlsby" and {f for f, _ in v.levels} <= {"position", "form", "size"}
    }
    assert f"all {len(crossed)} combinations" in page

    def shares(factor: str, key: str) -> list[float]:
        levels = study.factors[factor].levels
        for name, changes in levels.items():
            assert name == f"{100 * changes.get(key, 1):g} %"
        return sorted({100 * changes.get(key, 1) for changes in levels.values()} | {100})

    def listed(values: list[float]) -> str:
        return f"{', '.join(f'{v:g}' for v in values[:-1])} and {values[-1]:g} %"

    world = (
        load_domain(run_spec(LAPTOP, text, "full", 1).target),
        load_domain(run_spec(LAPTOP, text, "full", 1).source.data),
    )
    assert (
        f"{listed(shares('target share', 'target.share'))} of the {len(world[0].interactions):,} training "
        "users" in page
    )
    assert (
        f"{listed(shares('source share', 'source.data.share'))} of the {len(world[1].interactions):,} "
        "source users" in page
    )
    assert (
        f"for {listed(shares('source share, until it stops', 'source.data.share'))}, until validation stops"
        in page
    )
    longest = {
        c["source.training.steps"] for c in study.factors["source share, until it stops"].levels.values()
    }
    assert [
        f"at most {steps:,} steps" in page
        for steps in (*longest, run_spec(LAPTOP, text, "full", 1).source.training.steps)
    ] == [True, True]
