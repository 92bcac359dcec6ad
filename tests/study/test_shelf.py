"""What is on disk is what was written: records, packed records, and what is said when they are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.helpers import command
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.config import FLAT
from transrec_core.adapters.methods.lora import LoRAConfig
from transrec_core.adapters.registry import METHODS
from transrec_core.base.errors import UserError
from transrec_core.evaluation.metrics import metrics
from transrec_core.study import record as record_module
from transrec_core.study.progress import state
from transrec_core.study.provenance import environment
from transrec_core.study.record import OutdatedRecord, seal
from transrec_core.study.shelf import digest, source_facts, write_shelf
from transrec_core.study.specs import RunSpec
from transrec_core.study.store import Store


def written(store: Store, seed: int, **fields) -> str:
    """Writes a record of made-up ranks, nobody's run; its id."""
    spec = RunSpec(seed=seed, **(fields or {"strategy": "popularity"}))
    ranks = np.random.default_rng(seed).integers(1, 400, 300).astype(np.int32)
    history = [{"step": 0, "NDCG@10": 0.1}, {"step": 5, "loss": 1.5, "NDCG@10": 0.2}]
    facts = {
        "id": spec.id(),
        "method": spec.method,
        "data_fingerprint": "a-b",
        "metrics": metrics(ranks),
        "cases": 300,
        "seconds": 1.0,
    }
    store.write(spec, facts | {"history": history} | environment(spec), ranks)
    return spec.id()


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "store")
    for seed in (1, 2, 3):
        written(store, seed)
    written(store, 1, strategy="adapter", adapter=AdapterConfig(method="lora"))
    return store


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


def one_rank(folder: Path) -> None:
    content = bytearray((folder / "ranks.npy").read_bytes())
    content[-2] ^= 1
    (folder / "ranks.npy").write_bytes(content)


def another_metric(folder: Path) -> None:
    facts = json.loads((folder / "record.json").read_text())
    facts["metrics"]["HR@10"] += 0.001
    (folder / "record.json").write_text(json.dumps(facts))


DAMAGE = {
    "metrics": another_metric,
    "another fact": lambda folder: changed(folder / "record.json", '"seconds": 1.0', '"seconds": 2.0'),
    "not JSON": lambda folder: (folder / "record.json").write_text('{"id": '),
    "not a record": lambda folder: (folder / "record.json").write_text("[]"),
    "spec.yaml": lambda folder: changed(folder / "spec.yaml", "seed: 2", "seed: 4"),
    "spec.yaml, a typing error": lambda folder: changed(folder / "spec.yaml", "strategy:", "strategy: :"),
    "no spec.yaml": lambda folder: (folder / "spec.yaml").unlink(),
    "ranks": one_rank,
    "ranks cut off": lambda folder: (folder / "ranks.npy").write_bytes(
        (folder / "ranks.npy").read_bytes()[:-8]
    ),
    "another run's files": lambda folder: shutil.copytree(
        folder.parent / RunSpec(strategy="popularity", seed=1).id(), folder, dirs_exist_ok=True
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_change_by_hand_is_noticed_and_named(damage, store, monkeypatch, capsys):
    run_id = RunSpec(strategy="popularity", seed=2).id()
    assert store.scan()[1] == {}
    DAMAGE[damage](store.folder(run_id))
    records, damaged = store.scan()
    assert set(damaged) == {run_id} and len(records) == 3
    with pytest.raises(UserError, match=f"{run_id}: damaged record") as error:
        store.all()
    assert "\n" not in str(error.value)
    status, said, errors = command("runs", "--store", str(store.root), monkeypatch=monkeypatch, capsys=capsys)
    assert status == 1 and errors == [] and f"damaged: {run_id}  {damaged[run_id]}" in said.splitlines()
    assert all(record.id in said for record in records)


def test_packed_records_say_what_the_records_said(store, tmp_path, monkeypatch, capsys):
    status, said, _ = command(
        "pack", str(tmp_path / "shelf"), "--store", str(store.root), monkeypatch=monkeypatch, capsys=capsys
    )
    shelf = Store(tmp_path / "shelf")
    assert (
        status == 0 and "4 records" in said and shelf.ids() == store.ids() and not list(shelf.root.glob("*/"))
    )
    for record in store.all():
        packed = shelf.read(record.id[:6])
        assert packed.spec == record.spec and packed.metrics == record.metrics and packed.same_ranks(record)
        assert (packed.ranks == np.minimum(record.ranks, 21)).all()
        assert {k: v for k, v in metrics(packed.ranks).items() if k != "MRR"} == {
            k: v for k, v in record.metrics.items() if k != "MRR"
        }
        assert packed.facts["code"] == record.facts["code"] and [
            h["step"] for h in packed.facts["history"]
        ] == [0, 5]
    one, other = store.ids()[:2]
    assert not shelf.read(one).same_ranks(store.read(other))
    command(
        "pack", str(tmp_path / "again"), "--store", str(shelf.root), monkeypatch=monkeypatch, capsys=capsys
    )
    for path in shelf.root.glob("*.jsonl"):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_one_digit_in_a_packed_line_is_noticed(store, tmp_path, monkeypatch, capsys):
    command("pack", str(tmp_path), "--store", str(store.root), monkeypatch=monkeypatch, capsys=capsys)
    path = next(tmp_path.glob("*.jsonl"))
    line = path.read_text().splitlines()[0]
    run_id, value = json.loads(line)["id"], json.loads(line)["facts"]["metrics"]["HR@10"]
    changed(path, str(value), f"0.9{str(value)[3:]}")
    records, damaged = Store(tmp_path).scan()
    assert set(damaged) == {run_id} and "checksum" in damaged[run_id] and len(records) == 3
    status, said, _ = command("runs", "--store", str(tmp_path), monkeypatch=monkeypatch, capsys=capsys)
    assert status == 1 and f"damaged: {run_id}" in said


def test_a_shelf_with_a_line_that_is_not_json_is_refused_with_its_place(store, tmp_path, monkeypatch, capsys):
    command("pack", str(tmp_path), "--store", str(store.root), monkeypatch=monkeypatch, capsys=capsys)
    path = next(tmp_path.glob("*.jsonl"))
    for bad in ("<<<<<<< HEAD", "[1, 2]", "{}"):
        path.write_text(path.read_text().splitlines()[0] + f"\n{bad}\n")
        status, _, errors = command("runs", "--store", str(tmp_path), monkeypatch=monkeypatch, capsys=capsys)
        assert status == 2 and len(errors) == 1 and f"{path}, line 2: not a packed record" in errors[0]


def test_a_default_that_has_changed_since_is_noticed(store, tmp_path, monkeypatch, capsys):
    """The line says what it always said, but its specification is no longer that of its id."""
    command("pack", str(tmp_path), "--store", str(store.root), monkeypatch=monkeypatch, capsys=capsys)
    path = next(tmp_path.glob("*.jsonl"))
    first, *rest = path.read_text().splitlines(keepends=True)
    line = json.loads(first)
    line["id"] = line["id"][0] + "0" * 11
    path.write_text(json.dumps({**line, "sha256": digest(line)}) + "\n" + "".join(rest))
    damaged = Store(tmp_path).scan()[1]
    assert set(damaged) == {line["id"]} and "default" in damaged[line["id"]]


def test_packing_an_empty_or_damaged_store_is_refused(store, tmp_path, monkeypatch, capsys):
    status, _, errors = command(
        "pack",
        str(tmp_path / "shelf"),
        "--store",
        str(tmp_path / "nothing"),
        monkeypatch=monkeypatch,
        capsys=capsys,
    )
    assert status == 2 and len(errors) == 1 and "no records to pack" in errors[0]
    one_rank(store.folder(store.ids()[0]))
    status, _, errors = command(
        "pack", str(tmp_path / "shelf"), "--store", str(store.root), monkeypatch=monkeypatch, capsys=capsys
    )
    assert (
        status == 2 and len(errors) == 1 and store.ids()[0] in errors[0] and not (tmp_path / "shelf").exists()
    )


STUDY = {"profile": "smoke", "seeds": [1], "cells": [{"modality": "text", "methods": ["full", "houlsby"]}]}
CELLS = [{"modality": "text", "methods": ["full"], "vary": ["far"]}]
FACTOR = {"far": {"methods": ["full"], "levels": {"x": {"adapter.position": "ffn"}}}}


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ("rq9", "no question 'rq9' (it has: rq1"),
        ("nowhere.yaml", "nowhere.yaml: no such file"),
        (STUDY | {"baze": {}}, "unknown key 'baze'; did you mean 'base'"),
        (STUDY | {"sedes": [1]}, "unknown key 'sedes'; did you mean 'seeds'"),
        (
            STUDY | {"cells": [{"modality": "text", "metods": ["full"], "methods": []}]},
            "did you mean 'methods'",
        ),
        (STUDY | {"cells": CELLS}, "no factor 'far'"),
        (STUDY | {"cells": CELLS, "factors": FACTOR}, "'adapter.position' can't be varied for full"),
        (STUDY | {"base": {"training": {"stepps": 3}}}, "did you mean 'steps'"),
        (STUDY | {"profile": "huge"}, "no profile 'huge' (there are: laptop"),
        ({k: v for k, v in STUDY.items() if k != "seeds"}, "seeds: is missing"),
        ([1], "is a mapping of keys to values, not a list"),
    ],
)
def test_a_mistake_in_a_study_is_one_line_and_status_2(study, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if not isinstance(study, str):
        Path("s.yaml").write_text(yaml.safe_dump(study))
    name = study if isinstance(study, str) else "s.yaml"
    status, said, errors = command("study", name, "--dry-run", monkeypatch=monkeypatch, capsys=capsys)
    assert status == 2 and said == "" and len(errors) == 1 and message in errors[0], errors
    assert not Path("runs").exists()


def test_what_ships_can_be_gone_on_from(store, tmp_path):
    """Packed records in a new store are packed again line by line as they were, beside new ones; what is
    known of their origin stays.
    """
    known = {"abc": {"steps": 3, "best step": 2, "validation HR@10": 0.1}}
    write_shelf(store.all(), tmp_path / "first")
    (tmp_path / "first" / "sources.json").write_text(json.dumps(known))
    shutil.copytree(tmp_path / "first", tmp_path / "again")
    new = written(Store(tmp_path / "again"), 9)
    write_shelf(Store(tmp_path / "again").all(), tmp_path / "second")
    first, second = (
        set("".join(p.read_text() for p in (tmp_path / name).glob("*.jsonl")).splitlines())
        for name in ("first", "second")
    )
    assert first < second and len(second) == len(first) + 1
    assert Store(tmp_path / "second").has(new) and source_facts(tmp_path / "again") == known


class MoreLoRA(LoRAConfig):
    """LoRA's settings with a field that came later.

    Attributes:
        more: at its default, what the code did before.
    """

    more: int = 1


@pytest.fixture
def shelf(store, tmp_path) -> Store:
    write_shelf(store.all(), tmp_path / "shelf")
    return Store(tmp_path / "shelf")


def test_a_field_that_a_method_gets_later_touches_no_record(store, shelf, monkeypatch):
    lora = RunSpec(seed=1, strategy="adapter", adapter=AdapterConfig(method="lora"))
    run_id = lora.id()
    before = store.read(run_id).metrics
    monkeypatch.setattr(METHODS["lora"], "Config", MoreLoRA)
    for place in (store, shelf):
        record = place.read(run_id)
        assert record.spec.adapter.more == 1 and record.spec.id() == run_id and place.scan()[1] == {}
        assert record.metrics == before
    now = RunSpec(seed=1, strategy="adapter", adapter=AdapterConfig(method="lora"))
    assert isinstance(now.adapter, MoreLoRA) and now.id() == run_id
    assert RunSpec(seed=1, strategy="adapter", adapter=AdapterConfig(method="lora", more=2)).id() != run_id


def test_a_record_of_the_former_flat_configuration_is_read(store):
    """Its specification is sealed as it was written, with fields that LoRA no longer has."""
    run_id = RunSpec(seed=1, strategy="adapter", adapter=AdapterConfig(method="lora")).id()
    folder = store.folder(run_id)
    fields = yaml.safe_load((folder / "spec.yaml").read_text())
    fields["adapter"] = FLAT | {"method": "lora"}
    facts = json.loads((folder / "record.json").read_text())
    facts["sha256"] = seal(fields, facts)
    (folder / "spec.yaml").write_text(yaml.safe_dump(fields))
    (folder / "record.json").write_text(json.dumps(facts))
    assert store.read(run_id).spec.adapter == AdapterConfig(method="lora")


@pytest.mark.parametrize("change", ["a default", "a field that is gone"])
def test_nobody_is_advised_to_delete_a_sound_record(change, store, shelf, monkeypatch, capsys):
    run_id = RunSpec(seed=1, strategy="adapter", adapter=AdapterConfig(method="lora")).id()
    if change == "a default":
        monkeypatch.setattr(record_module, "validated", lambda fields, origin: RunSpec(seed=99))
    else:
        fields = {name: field for name, field in LoRAConfig.model_fields.items() if name != "alpha"}
        monkeypatch.setattr(LoRAConfig, "__pydantic_fields__", fields)
        monkeypatch.setitem(FLAT, "alpha", "nothing")
    for place in (store, shelf):
        with pytest.raises(OutdatedRecord) as error:
            place.read(run_id)
        message = str(error.value)
        assert "keep it" in message and "delete" not in message and "damaged" not in message
        assert ("a default of the specification has changed since" in message) == (change == "a default")
        assert "\n" not in message and state(place, run_id) == "outdated"
        runs = ("runs", "--store", str(place.root))
        status, output, _ = command(*runs, monkeypatch=monkeypatch, capsys=capsys)
        assert status == 1 and f"outdated: {run_id}  " in output
