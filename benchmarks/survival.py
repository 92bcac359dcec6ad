"""Does a study survive? It is killed, starved of disk and run twice at once, and its records are compared
with an uninterrupted run's.

    python -m benchmarks.survival [--kills 50] [--seed 0] [--out results/benchmarks/survival.json]

A small study (source stage included) is killed with SIGKILL at random moments: a worker, the parent, the Dask
scheduler or a Dask worker. After each kill everything that was recorded before must still be there, bit for
bit, and nothing may be half-written; the study is then started again or goes on by itself. Each time it is
complete, its records must equal the reference's (metrics and ranks bit for bit), and it begins anew with an
empty store. The full disk and the read-only folder are a small tmpfs, which needs root; without it these rows
say so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

from benchmarks.troubles import QUIET, dask, kill_tree, tmpfs, used_kib, workers_of
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.models import TransRec
from transrec_core.study.executors import cores
from transrec_core.study.provenance import environment
from transrec_core.study.store import Store

STUDY = """
profile: smoke
seeds: [1, 2]
base:
  source: {training: {steps: 20, min_steps: 0, eval_every: 10, batch_size: 32}}
  training: {steps: 30, min_steps: 0, eval_every: 5}
cells:
  - {modality: text, methods: [full, houlsby, lora, side, head, scratch]}
"""
COMMAND = [sys.executable, "-c", "from transrec_core.cli.main import main; main()"]


class Bench:
    """A folder with the study, the reference records, and a store that is maltreated."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(folder / "store")
        (folder / "study.yaml").write_text(STUDY)
        self.reference = self.finish(Store(folder / "reference"))

    def start(self, store: Store, *options: str) -> subprocess.Popen[bytes]:
        arguments = ["study", str(self.folder / "study.yaml"), "--store", str(store.root), *options]
        return subprocess.Popen(
            [*COMMAND, *arguments], start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, **QUIET
        )

    def finish(self, store: Store, *options: str) -> dict[str, str]:
        """Runs the study to its end; what its records say, by id, without what depends on the clock."""
        process = self.start(store, *options)
        if process.wait() != 0:
            raise SystemExit(
                f"the study ended with status {process.returncode}; "
                f"run it by hand: transrec study {self.folder / 'study.yaml'}"
            )
        return self.content(store)

    def content(self, store: Store) -> dict[str, str]:
        return {
            r.id: json.dumps([r.metrics, r.facts["ranks_sha256"], r.facts.get("history")])
            for r in store.all()
        }

    def broken(self) -> int:
        """Records and source models that are there but can't be read."""
        damaged = len(self.store.scan()[1]) if self.store.root.exists() else 0
        for config in self.store.root.glob("sources/*/config.json"):
            try:
                TransRec.from_pretrained(config.parent)
            except UserError:
                damaged += 1
        return damaged

    def written(self) -> dict[str, bytes]:
        """Each recorded run's file as it is on disk."""
        return {p.parent.name: p.read_bytes() for p in self.store.root.glob("*/record.json")}


class Tally:
    """What happened in one row of the table; several rows of kills share their completed studies."""

    def __init__(self, completed: Tally | None = None) -> None:
        self.kills = self.lost = self.broken = self.complete = self.unequal = 0
        self.completed = completed or self

    def look(self, bench: Bench, before: dict[str, bytes]) -> None:
        """After a kill: what was recorded is still there, and every record reads."""
        now = bench.written()
        self.kills += 1
        self.lost += sum(now.get(run_id) != content for run_id, content in before.items())
        self.broken += bench.broken()

    def done(self, bench: Bench) -> None:
        """The study is complete: compare, and begin anew."""
        self.completed.complete += 1
        self.completed.unequal += bench.content(bench.store) != bench.reference
        shutil.rmtree(bench.store.root)

    def row(self, what: str) -> dict[str, object]:
        complete, unequal = (self.complete, self.unequal) if self.completed is self else (None, None)
        return {
            "what": what,
            "times": self.kills,
            "records lost": self.lost,
            "half-written": self.broken,
            "studies completed": complete,
            "not equal to an uninterrupted one": unequal,
        }


def kill_here(bench: Bench, rng: random.Random, tallies: dict[str, Tally], kills: int) -> None:
    """Workers and parents of the local executor."""
    done, process = 0, bench.start(bench.store)
    while done < kills:
        time.sleep(rng.uniform(0.2, 7))
        if process.poll() is not None:
            if process.returncode != 0:
                raise SystemExit(
                    f"a study ended with status {process.returncode} though only workers were killed"
                )
            tallies["parent"].done(bench)
            process = bench.start(bench.store)
            continue
        what = rng.choice(["worker", "parent"])
        victims = workers_of(process.pid) if what == "worker" else [psutil.Process(process.pid)]
        if not victims:
            continue
        before = bench.written()
        orphans = workers_of(process.pid)
        rng.choice(victims).kill()
        if what == "parent":
            process.wait()
            psutil.wait_procs(orphans, timeout=10)
            assert not [p for p in orphans if p.is_running()], "workers outlive their parent"
        tallies[what].look(bench, before)
        done += 1
        if what == "parent":
            process = bench.start(bench.store)
    if process.wait() != 0:
        raise SystemExit(f"the last study ended with status {process.returncode}")
    tallies["parent"].done(bench)


def kill_on_dask(bench: Bench, rng: random.Random, tallies: dict[str, Tally], kills: int) -> None:
    """Schedulers, their workers, and the parent that waits for them."""
    done = 0
    while done < kills:
        with dask() as (address, scheduler, workers):
            process = bench.start(bench.store, "--scheduler", address)
            while done < kills and scheduler.poll() is None:
                time.sleep(rng.uniform(1, 8))
                if process.poll() is not None:
                    if process.returncode == 0:
                        tallies["Dask worker"].done(bench)
                    elif process.returncode != -signal.SIGKILL:
                        status = process.returncode
                        raise SystemExit(f"a study on Dask ended with status {status}; its scheduler lives")
                    process = bench.start(bench.store, "--scheduler", address)
                    continue
                what = rng.choice(["Dask scheduler", "Dask worker", "Dask worker", "parent, on Dask"])
                victims = {
                    "Dask scheduler": [psutil.Process(scheduler.pid)],
                    "parent, on Dask": [psutil.Process(process.pid)],
                }.get(what)
                victims = workers_of(workers.pid) if victims is None else victims
                if not victims:
                    continue
                before = bench.written()
                rng.choice(victims).kill()
                time.sleep(0.1)
                tallies[what].look(bench, before)
                done += 1
                if what == "Dask scheduler":
                    scheduler.wait()
            kill_tree(process.pid)
            process.wait()
    with dask() as (address, _, _):
        bench.finish(bench.store, "--scheduler", address)
    tallies["Dask scheduler"].done(bench)


def two_at_once(bench: Bench) -> dict[str, object]:
    """Two studies on one store."""
    tally = Tally()
    pair = [bench.start(bench.store), bench.start(bench.store)]
    tally.kills = 2
    if [process.wait() for process in pair] != [0, 0]:
        raise SystemExit("one of two studies on one store did not end well")
    tally.broken += bench.broken()
    tally.done(bench)
    return tally.row("two studies on one store at once")


def bad_disk(bench: Bench, what: str, trouble: str | None, relief: str) -> dict[str, object]:
    """A disk that is soon full (trouble: None), or can't be written, in the middle of a study; and later
    can.
    """
    tally, store = Tally(), bench.store
    try:
        with tmpfs(store.root, "64m") as remount:
            first = bench.start(store)
            while first.poll() is None and len(bench.written()) < 3:  # something to lose
                time.sleep(0.02)
            kill_tree(first.pid)
            first.wait()
            before = bench.written()
            remount(trouble or f"size={used_kib(store.root) + 60}k")
            status = bench.start(store).wait()
            if status != 1:
                raise SystemExit(f"{what}: the study ended with status {status}, not 1")
            remount(relief)
            tally.look(bench, before)
            content = bench.finish(store)
            tally.complete, tally.unequal = 1, int(content != bench.reference)
    except subprocess.CalledProcessError as error:
        return {**tally.row(what), "times": f"not run: {' '.join(error.cmd[:3])} failed (it needs root)"}
    return tally.row(what)


def main() -> None:
    """Runs everything and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write JSON")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rng, began = random.Random(arguments.seed), time.perf_counter()
    here, on_dask = Tally(), Tally()
    tallies = {name: Tally(here) for name in ("worker", "parent")}
    tallies |= {name: Tally(on_dask) for name in ("Dask worker", "Dask scheduler", "parent, on Dask")}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        kill_here(bench, rng, tallies, arguments.kills * 3 // 5)
        kill_on_dask(bench, rng, tallies, arguments.kills - arguments.kills * 3 // 5)
        rows = [tally.row(f"SIGKILL: {name}") for name, tally in tallies.items()]
        rows += [
            here.row("the studies that were killed, here"),
            on_dask.row("the studies that were killed, on Dask"),
        ]
        rows += [
            two_at_once(bench),
            bad_disk(bench, "disk full in the middle, then not", None, "size=64m"),
            bad_disk(bench, "folder read-only in the middle, then not", "ro", "rw"),
        ]
    frame = pd.DataFrame(rows)
    print(frame.to_string(index=False))
    if arguments.out:
        facts = {"command": "python -m benchmarks.survival", "kills": arguments.kills, "seed": arguments.seed}
        facts |= {
            "cores": cores(),
            "runs of the study": len(bench.reference),
            "seconds": round(time.perf_counter() - began),
        }
        facts |= {"environment": environment(), "rows": rows}
        atomic_write(arguments.out, json.dumps(facts, indent=2) + "\n")
    bad = frame[["records lost", "half-written", "not equal to an uninterrupted one"]].sum().sum()
    sys.exit(int(bad > 0))


if __name__ == "__main__":
    main()
