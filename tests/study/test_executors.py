"""Executors as laws: records do not depend on who made them, on what was killed, or on what else failed."""

from __future__ import annotations

import functools
import shutil
import subprocess
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml

from tests.helpers import TRANSREC, command, environment, fields
from transrec_core.base import processes
from transrec_core.study import executors
from transrec_core.study.executors import execute, is_stale
from transrec_core.study.grids import load_study, question_specs
from transrec_core.study.progress import state
from transrec_core.study.provenance import code_version
from transrec_core.study.specs import RunSpec, validated
from transrec_core.study.store import Store

STUDY = """
profile: smoke
seeds: [1, 2]
base:
  source: {training: {steps: 20, min_steps: 0, eval_every: 10, batch_size: 32}}
  training: {steps: 10, min_steps: 0, eval_every: 5}
cells:
  - {modality: text, methods: [full, houlsby, compacter, lora, side, head, scratch]}
"""


def content(store: Store) -> dict[str, list[object]]:
    """What records say, without what depends on the clock."""
    return {
        r.id: [r.metrics, r.facts["ranks_sha256"], r.facts.get("history"), r.facts["code"]]
        for r in store.all()
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, dict[str, RunSpec], Store]:
    """A study of a few runs in a file, their specifications, and their records by the local executor."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.yaml").write_text(STUDY)
    plan = question_specs(*load_study(str(folder / "study.yaml"), "laptop"))
    specs, store = {run_id: spec for run_id, (_, _, spec) in plan.items()}, Store(folder / "local")
    assert len(specs) == 2 * 8 + 5  # seven methods and item-ID SASRec with both seeds, five controls once
    assert execute(specs.values(), store, workers=2) == {}
    assert set(store.ids()) == set(specs)
    return folder / "study.yaml", specs, store


@pytest.mark.slow
def test_dask_workers_make_the_same_records_as_local_processes(study, tmp_path):
    distributed = pytest.importorskip("distributed")
    _, specs, local = study
    store = Store(tmp_path / "store")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path / "dask"),
    ) as cluster:
        assert execute([*specs.values(), *specs.values()], store, scheduler=cluster.scheduler_address) == {}
    assert content(store) == content(local)
    assert not store.failures() and len(list(store.root.glob("sources/*/config.json"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "parent"])
def test_a_killed_process_loses_nothing(victim, study, tmp_path):
    """Killed while some runs are recorded and another is in the middle; after the parent's death the same
    command goes on.
    """
    file, _, local = study
    part = (
        file.read_text()
        .replace("seeds: [1, 2]", "seeds: [2]\ncontrols: []")
        .replace(", compacter, lora, side, head, scratch]", ", lora, head]")
    )
    (tmp_path / "part.yaml").write_text(part)
    command = [*TRANSREC, "study", "part.yaml", "--store", "store", "--workers", "2"]
    with (tmp_path / "errors").open("w") as errors:
        start = functools.partial(
            subprocess.Popen,
            command,
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        process = start()
        record, checkpoint = "store/*/record.json", "store/*/checkpoint.safetensors"
        while process.poll() is None and not (
            list(tmp_path.glob(record)) and list(tmp_path.glob(checkpoint))
        ):
            time.sleep(0.005)
        before = {path: path.read_bytes() for path in tmp_path.glob(record)}
        workers = [
            p
            for p in psutil.Process(process.pid).children(recursive=True)
            if "spawn_main" in " ".join(p.cmdline())
        ]
        (workers[0] if victim == "worker" else process).kill()
        assert not psutil.wait_procs(workers, timeout=30)[
            1
        ]  # none outlives its parent, or the pool that lost one
        assert 0 < len(before) < 4 and all(path.read_bytes() == written for path, written in before.items())
        if victim == "parent":
            process.wait()
            process = start()
        output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    mine, theirs = content(Store(tmp_path / "store")), content(local)
    assert f"{len(mine)} runs, {len(mine)} recorded in store, 0 failed" in output
    assert len(mine) == 4 and mine == {run_id: theirs[run_id] for run_id in mine}
    assert not list(tmp_path.glob("store/*/checkpoint.safetensors"))


class Breaks:
    """A pool that is found broken when the third run is handed to it, as if a worker had died meanwhile;
    the next pool is sound.
    """

    made = 0

    def __init__(self, *arguments: object, **options: object) -> None:
        Breaks.made += 1
        self.number, self.submitted, self._processes = Breaks.made, 0, {}

    def submit(self, task, spec: RunSpec, *arguments: object) -> Future[None]:
        self.submitted += 1
        if self.number == 1 and self.submitted == 3:
            raise BrokenProcessPool
        Path(arguments[0] / spec.id()).mkdir(parents=True)
        Path(arguments[0] / spec.id() / "record.json").write_text("{}")
        future = Future()
        future.set_result(None)
        return future

    def shutdown(self, **options: object) -> None:
        pass


def test_a_pool_that_breaks_while_a_run_is_handed_over_loses_no_run(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Breaks)
    monkeypatch.setattr(executors, "Forecast", lambda store: SimpleNamespace(total=lambda specs: None))
    monkeypatch.setattr(Breaks, "made", 0)
    specs = [RunSpec(strategy="popularity", seed=seed) for seed in range(5)]
    assert execute(specs, Store(tmp_path), workers=1) == {} and Breaks.made == 2
    assert {p.parent.name for p in tmp_path.glob("*/record.json")} == {spec.id() for spec in specs}


@pytest.mark.slow
def test_a_failed_run_stops_no_other_and_is_made_good_by_the_same_call(folders, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(folders / "a", root / "a")
    elsewhere = fields()["target"] | {"folder": "a"}
    sound = [validated(fields(s, target=elsewhere), "test") for s in ("popularity", "full")]
    missing = validated(fields("popularity"), "test")  # its target, folder "b", is not there
    huge = {"encoder": 1e38, "head": 1e38, "user": 1e38}
    wild = validated(
        fields(target=elsewhere, training=fields()["training"] | {"lr": huge, "warmup": 0}), "test"
    )
    store = Store(tmp_path / "store")
    failed = execute([missing, wild, *sound], store, root, workers=2)
    assert set(failed) == set(store.failures()) == {missing.id(), wild.id()}
    assert (
        "no such folder" in failed[missing.id()]
        and "training.lr" in failed[wild.id()]
        and "\n" not in "".join(failed.values())
    )
    assert {run_id: found["error"] for run_id, found in store.failures().items()} == failed
    assert store.ids() == sorted(spec.id() for spec in sound)
    assert [state(store, spec.id()) for spec in (missing, wild, *sound)] == [
        "failed",
        "failed",
        "recorded",
        "recorded",
    ]
    shutil.copytree(folders / "b", root / "b")
    assert execute([missing, *sound], store, root, workers=2) == {}
    assert store.has(missing.id()) and set(store.failures()) == {wild.id()}


def test_a_study_with_a_failed_run_ends_with_status_1_and_a_line_for_it(tmp_path, monkeypatch, capsys):
    wild = {
        "wild": {"methods": ["head"], "levels": {"far": {"training.lr.head": 1e38, "training.warmup": 0}}}
    }
    cells = [{"modality": "text", "methods": ["frozen"], "vary": ["wild"]}]
    (tmp_path / "s.yaml").write_text(
        yaml.safe_dump({"profile": "smoke", "controls": [], "seeds": [1], "factors": wild, "cells": cells})
    )
    options = {"monkeypatch": monkeypatch, "capsys": capsys}
    status, output, errors = command(
        "study", str(tmp_path / "s.yaml"), "--store", str(tmp_path / "store"), "--workers", "1", **options
    )
    lines = [line for line in errors if line.startswith("failed: ")]
    assert (
        status == 1
        and len(lines) == 1
        and "head wild=far, seed 1: " in lines[0]
        and "training.lr" in lines[0]
    )
    assert f"2 runs, 1 recorded in {tmp_path / 'store'}, 1 failed" in output and "Traceback" not in "".join(
        errors
    )
    status, output, _ = command("runs", "--store", str(tmp_path / "store"), **options)
    assert status == 0 and f"failed: {lines[0].split()[1]}  the loss is no longer a number" in output


@pytest.mark.slow
def test_other_code_and_damage_are_told_and_run_again_on_refresh_only(study, tmp_path):
    _, specs, local = study
    chosen = {
        spec.strategy: run_id
        for run_id, spec in specs.items()
        if spec.strategy in ("popularity", "untrained", "oracle")
    }
    old, damaged, sound = chosen["popularity"], chosen["untrained"], chosen["oracle"]
    store = Store(tmp_path / "store")
    for run_id in chosen.values():
        record = local.read(run_id)
        facts = {k: v for k, v in record.facts.items() if k not in ("sha256", "ranks_sha256")}
        store.write(record.spec, facts | ({"code": "0" * 12} if run_id == old else {}), record.ranks)
    record = store.folder(damaged) / "record.json"
    record.write_text(record.read_text().replace('"cases": 7', '"cases": 8'))
    before = (store.folder(sound) / "record.json").read_bytes()
    asked = {run_id: specs[run_id] for run_id in chosen.values()}
    wanted = {old: "other code", damaged: "damaged", sound: "recorded"}
    assert {run_id: state(store, run_id) for run_id in asked} == wanted
    assert [is_stale(store, run_id) for run_id in (old, damaged, sound)] == [True, True, False]
    assert execute(asked.values(), store) == {}
    assert {run_id: state(store, run_id) for run_id in asked} == wanted  # nothing was touched
    assert execute(asked.values(), store, workers=2, refresh=True) == {}
    assert {state(store, run_id) for run_id in asked} == {"recorded"}
    assert content(store) == {run_id: found for run_id, found in content(local).items() if run_id in asked}
    assert store.read(old).facts["code"] == code_version(store.read(old).spec)
    assert (store.folder(sound) / "record.json").read_bytes() == before
