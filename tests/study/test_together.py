"""Processes that are at work together: one artefact, one record."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.helpers import environment, fields
from transrec_core.study import stages
from transrec_core.study.specs import RunSpec, validated
from transrec_core.study.store import Store
from transrec_core.training.artefacts import cached_states, exclusive


def _ask(spec: RunSpec, root: Path, data: Path, together, queue) -> None:
    """Asks for a source model and for cached states at the same time as others; leaves a line for each
    time they are computed.
    """
    torch.set_num_threads(1)
    train = stages.train_source

    def noted(what: str, value=None):
        with (root / f"{what}.txt").open("a") as file:
            file.write("once\n")
        time.sleep(0.3)  # long enough for the others to ask
        return value

    def counted(*arguments, **options):
        noted("source")
        return train(*arguments, **options)

    stages.train_source = counted
    together.wait(60)
    model = stages.source_model(spec, Store(root), data)
    total = sum(float(p.double().sum()) for p in model.parameters())
    weights, states = [torch.arange(3.0)], torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    together.wait(60)
    found = [
        cached_states(root / "features", weights, facts, 5, lambda: noted("states", states.split(2)))
        for facts in ("a", "a")
    ]
    queue.put((total, all(torch.equal(f, states) for f in found)))


@pytest.mark.slow
def test_two_processes_that_ask_for_one_artefact_make_it_once(folders, tmp_path):
    context = multiprocessing.get_context("spawn")
    queue, together = context.Queue(), context.Barrier(2)
    spec = validated(fields(), "test")
    workers = [
        context.Process(target=_ask, args=(spec, tmp_path, folders, together, queue)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert found[0] == found[1] and found[0][1]
    assert [(tmp_path / f"{what}.txt").read_text() for what in ("source", "states")] == ["once\n", "once\n"]
    states = torch.zeros(2, 2)  # other weights, or other facts, are other states
    for weights, facts in ((torch.arange(3.0) + 1, "a"), (torch.arange(3.0), "b")):
        assert torch.equal(
            cached_states(tmp_path / "features", [weights], facts, 2, lambda: [states]), states
        )
    assert len(list((tmp_path / "features").glob("*.npy"))) == 3


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "a"):
        1 / 0  # noqa: B018
    with exclusive(tmp_path / "a"), exclusive(tmp_path / "b"):
        assert (tmp_path / "a.lock").exists()


@pytest.mark.slow
def test_processes_that_accelerate_starts_together_make_one_record(folders, tmp_path):
    """Two of them, on CPUs; source stage and cached states included. Without locks that know of each other,
    they would wait for each other for ever.
    """
    (tmp_path / "s.yaml").write_text(json.dumps(fields("adapter", adapter={"method": "side"})))
    # `accelerate launch --cpu` starts one process, whatever it is asked for; this starts two, as on GPUs.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, "-m", "transrec_core.cli", "run", "s.yaml", "--data-root", str(folders)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment(ACCELERATE_USE_CPU="true"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("side, sasrec, seed 0") == 2  # each of them shows the record in the end
    (record,) = Store(tmp_path / "runs").all()
    assert (
        record.facts["steps"] == fields()["training"]["steps"]
        and len(list(tmp_path.glob("runs/sources/*/config.json"))) == 1
    )
