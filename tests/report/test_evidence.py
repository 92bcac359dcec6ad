"""What the pages say of records of real data, whatever part of them is there; and the arithmetic of scale.
All records here are made up.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from transrec_core.base.errors import UserError
from transrec_core.evaluation.cold import packed_bits
from transrec_core.evaluation.metrics import metrics
from transrec_core.report import evidence, scale, worlds
from transrec_core.report import tables as report
from transrec_core.study import tuning
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.profile import Profile, Variant
from transrec_core.study.provenance import environment
from transrec_core.study.specs import TRAINED
from transrec_core.study.store import Store

REAL = load_profile("real")
LEVEL = {"full": 0.30, "houlsby": 0.30, "scratch": 0.2, "head": 0.1, "frozen": 0.02, "item_id": 0.15}


def _made_up(store: Store, profile: Profile, question: str, seeds: set[int], users: int = 3000) -> None:
    """Records of made-up ranks for a question's runs with these seeds: nobody's results, of the right
    shape.
    """
    cold = np.arange(users) % 10 == 0
    for spec in (
        spec
        for _, _, spec in question_specs(profile, profile.question(question), {}).values()
        if spec.seed in seeds
    ):
        rng = np.random.default_rng(spec.seed)
        hit = np.random.default_rng(0).random(users) + 0.001 * rng.standard_normal(users) < LEVEL.get(
            spec.method, 0.1
        )
        hit &= ~(cold & (spec.strategy == "item_id"))
        ranks = np.where(hit, 3, 50).astype(np.int32)
        facts = {
            "id": spec.id(),
            "method": spec.method,
            "data_fingerprint": "a-b",
            "metrics": metrics(ranks),
            "cases": users,
            "seconds": 9.0,
            "cold": packed_bits(cold),
            "cold_cases": int(cold.sum()),
            "device": "cpu",
        }
        if spec.strategy in TRAINED:
            facts |= {
                "trainable_parameters": 10,
                "total_parameters": 20,
                "train_seconds": 9.0,
                "seconds_per_step": 0.5,
                "best_step": 0,
                "steps": 300,
            }
        store.write(spec, facts | environment(spec), ranks)


@pytest.fixture
def tuned_instruments(tmp_path, monkeypatch) -> None:
    """A table of step sizes for the pair "instruments" alone, as if it had been tuned."""
    monkeypatch.setattr(tuning, "PROFILES", tmp_path / "profiles")
    (tmp_path / "profiles").mkdir()
    grid = REAL.pairs["instruments"].grids
    table = {
        "instruments-text-sasrec": {
            m: {"chosen": sizes[1], "valid NDCG@10": {}, "best step": {}} for m, sizes in grid.items()
        }
    }
    (tmp_path / "profiles" / "step_sizes_real.yaml").write_text(yaml.safe_dump(table))


@pytest.mark.parametrize("seeds", [(), (1,), (1, 2, 3)])
def test_the_evidence_says_what_is_there_whatever_is_there(seeds, tuned_instruments, tmp_path):
    store = Store(tmp_path / "store")
    _made_up(store, REAL, "rq1-instruments", set(seeds))
    real = evidence.gather(REAL, store)
    table = evidence.run_table(REAL, real).set_index(["question", "cell"])
    first = table.loc[("rq1-instruments", "instruments, titles")]
    assert first["planned"] == 5 * 5 + 4 and first["recorded"] == len(store.ids()) == 5 * len(seeds) + 4 * (
        1 in seeds
    )
    assert (
        table.drop(index=[i for i in table.index if i[1] == "instruments, titles"])["not run"]
        == "nothing of it was run"
    ).all()
    assert "head only (seeds 4, 5)" in first["not run"] or len(seeds) < 3
    cells = real.cells("rq1")
    assert len(cells) == bool(seeds) and all(
        cell.pair == "instruments" for cell, _ in (*real.cells("rq2"), *real.cells("rq3"))
    )
    for cell, found in cells:
        frame = evidence.methods_frame(found).set_index("method")
        assert frame.loc["full", "seeds"] == len(seeds)
        expected = (
            {"houlsby": "comparable", "head": "worse", "scratch": "worse"}
            if len(seeds) >= 3
            else dict.fromkeys(LEVEL, "too few seeds")
        )
        assert {m: frame.loc[m, "verdict"] for m in expected if m != "full"} == {
            m: v for m, v in expected.items() if m != "full"
        }
        assert ("too few seeds" in set(frame["verdict"])) == (
            len(seeds) < 3
        )  # controls that nothing random is in need one seed only
        above = evidence.notes(found)["above"].split(", ")
        assert {"full fine-tuning", "Houlsby"} <= set(
            above
        ) and "head only" not in above  # made up: 30 % and 10 %, like popularity
        assert (
            report.NAMES["frozen"] in evidence.notes(found)["below"]
            and "full fine-tuning" in evidence.notes(found)["flat"]
        )
        assert ("**better**" if len(seeds) >= 3 else "too few seeds") in evidence.cold_sentence(cell, found)
        (told,) = evidence.control_sentences({cell: evidence.methods_frame(found)})
        word = "worse" if len(seeds) >= 3 else "too few seeds"
        assert f"item-ID SASRec is **{word}** (-" in told and f"popularity is **{word}** (-" in told
        held = evidence.hypotheses_table([(cell, found)], {cell: evidence.methods_frame(found)}).iloc[0]
        assert [text.split(":")[0] for text in held[1:]] == ["holds" if len(seeds) >= 3 else "open"] * 4
        cold = evidence.cold_table(found).set_index("method")
        assert cold.loc["item-ID SASRec", "cold: HR@10 (%) [95 %]"].startswith("0.0") and len(cold) == 9
    beside = (
        worlds.side_by_side({"one": cells[0][1]}, {"other": cells[0][1]}, Variant("full"), [Variant("head")])
        if cells
        else None
    )
    if beside is not None:
        assert list(beside["embedded and real"]) == ["agree" if len(seeds) >= 3 else "can't tell"]


def test_worlds_disagree_only_where_both_are_certain(tuned_instruments, tmp_path, monkeypatch):
    sides = []
    for name, level in (("one", 0.30), ("other", 0.2)):
        monkeypatch.setitem(LEVEL, "houlsby", level)
        _made_up(store := Store(tmp_path / name), REAL, "rq1-instruments", {1, 2, 3})
        sides.append({name: evidence.gather(REAL, store).cells("rq1")[0][1]})
    cell = REAL.question("rq1-instruments").cells[0]
    held = [
        evidence.hypotheses_table([(cell, f)], {cell: evidence.methods_frame(f)}).iloc[0]
        for side in sides
        for f in side.values()
    ]
    assert [row["H1: Houlsby is comparable"].split(":")[0] for row in held] == ["holds", "does not hold"]
    frame = worlds.side_by_side(*sides, Variant("full"), [Variant(m) for m in ("houlsby", "head", "lora")])
    assert dict(zip(frame["what"], frame["embedded and real"], strict=True)) == {
        "Houlsby": "disagree",
        "head only": "agree",
    }
    assert "disagree: Houlsby" in worlds.disagreements(frame) and "Nothing" in worlds.disagreements(
        frame.iloc[:0]
    )


def test_shares_are_compared_where_both_worlds_have_them(tuned_instruments, tmp_path):
    _made_up(store := Store(tmp_path), REAL, "rq4-target", {1, 2, 3})
    ((cell, found),) = evidence.gather(REAL, store).cells("rq4-target")
    fewer = {v: runs for v, runs in found.items() if v.levels != (("target share", "30 %"),)}
    frame = worlds.beside("rq4", {"one": fewer}, {"other": found}).set_index("what")
    assert len(frame) == 3 * 2 and set(frame["embedded and real"]) == {
        "agree"
    }  # 10 and 100 %; made up alike at every share
    assert frame.loc["adapter minus full, target share 10 %", "one"].startswith("comparable")
    assert frame.loc["no source minus full, target share 100 %", "other"].startswith("worse (-3")
    few = {v: runs[:2] for v, runs in found.items()}
    assert set(worlds.beside("rq4", {"one": fewer}, {"other": few})["other"].str.split(" \\(").str[0]) == {
        "too few seeds"
    }


@pytest.mark.parametrize("question", ["rq1", "rq2", "rq3", "rq4"])
def test_what_ships_can_be_laid_side_by_side(question):
    embedded, real = worlds.shipped(question)
    assert embedded and all(name.startswith("embedded, ") for name in embedded)
    table = worlds.controls_table(embedded, real).set_index("HR@10 (%)")
    assert list(table.columns) == [*embedded, *real] and (table.loc["full fine-tuning"] != "–").all()
    assert worlds.disagreements(worlds.beside(question, embedded, real)).endswith(".")


def test_the_arithmetic_of_scale():
    parameters, width, layers = scale.backbone_size("bert-base-uncased")
    assert (width, layers) == (768, 12) and parameters == pytest.approx(12 * 12 * 768**2, rel=0.01)
    plan = scale.Plan(
        users=1000,
        items=100,
        length=10,
        tokens=5,
        batch=100,
        epochs=2,
        flops=1e6,
        devices=4,
        user_parameters=0,
    )
    frame = scale.estimate(plan, 10, 4, 2).set_index("way")
    full = frame.loc["full fine-tuning"]
    assert full["steps"] == 20 and full["device hours"] == pytest.approx(
        6 * 10 * 1000 * 10 * 5 * 2 / 1e6 / 3600
    )
    assert (
        full["hours on all devices"] == full["device hours"] / 4
        and frame.loc["adapters inside", "device hours"] == full["device hours"] * 2 / 3
    )
    assert frame.loc["side network, all layers cached", "cache (GiB)"] == pytest.approx(
        100 * 4 * 2 * 3 / 2**30
    )
    assert frame.loc["head only, last layer cached", "device hours"] == pytest.approx(
        2 * 10 * 100 * 5 / 1e6 / 3600
    )
    assert (
        list(scale.readable(frame)["device hours"])[0] == "0.0017"
        and scale.benchmark_rates(Path("nowhere")).empty
    )


@pytest.mark.parametrize("text", ["[", "{}", "[1]"])
def test_a_wrong_file_for_repetitions_is_named_and_kept(text, tmp_path):
    path = tmp_path / "notes.json"
    path.write_text(text)
    with pytest.raises(UserError, match="notes.json"):
        evidence.add_repeat(path, {"id": "x"})
    assert path.read_text() == text


def test_what_ships_is_planned_and_whole():
    records, damaged = Store("results/real").scan()
    wanted = {run_id for question in REAL.questions.values() for run_id in question_specs(REAL, question, {})}
    assert (
        not damaged
        and {record.id for record in records} <= wanted
        and all("cold" in record.facts for record in records)
    )
