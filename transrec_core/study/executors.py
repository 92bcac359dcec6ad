"""Many runs: side by side in processes of this machine, or on the workers of a Dask scheduler; the records
are the same either way.

A worker that dies takes nothing with it: finished runs are on disk, the one under way goes on from its last
validation. A run that fails is recorded with its error and stops no other. A run that was tried several times
leaves one record.
"""

from __future__ import annotations

import datetime
import os
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from tqdm import tqdm

from transrec_core.base.errors import UserError
from transrec_core.base.processes import process_pool
from transrec_core.study.progress import Forecast, time_left
from transrec_core.study.provenance import code_version, environment
from transrec_core.study.record import Record, UnusableRecord
from transrec_core.study.run import run
from transrec_core.study.specs import RunSpec
from transrec_core.study.store import Store

#: How often a run may lose its worker (killed, out of memory) before it counts as failed.
TRIES = 5


def execute(
    specs: Iterable[RunSpec],
    store: Store,
    data_root: Path = Path(),
    workers: int | None = None,
    scheduler: str | None = None,
    refresh: bool = False,
) -> dict[str, str]:
    """Makes sure that each specification is recorded.

    Args:
        specs: what is to be run.
        store: where to.
        data_root: where relative dataset folders start.
        workers: processes of this machine, one thread each; None means one for each core.
        scheduler: address of a Dask scheduler whose workers run instead. Where they share no folder with this
            machine, records come back to it.
        refresh: run again what was recorded by another version of the code, or can't be used.

    Returns:
        The errors of runs that failed, by id; empty if all is well.

    Raises:
        OSError: if records can't be written (a full disk), or the scheduler is lost. What is recorded stays;
            the same call goes on from there.
    """
    plan = {spec.id(): spec for spec in specs}
    stale = {run_id for run_id in plan if store.has(run_id) and is_stale(store, run_id)} if refresh else set()
    todo = {run_id: spec for run_id, spec in plan.items() if run_id in stale or not store.has(run_id)}
    if not todo:
        return {}
    count = min(workers or cores(), len(todo))
    forecast = Forecast(store)
    failed: dict[str, str] = {}
    ended = (
        _on_dask(todo, store, data_root, scheduler, stale)
        if scheduler
        else _on_this_machine(todo, store, data_root, count, stale)
    )
    with tqdm(total=len(plan), initial=len(plan) - len(todo), unit="run", mininterval=2) as bar:
        for run_id, error in ended:
            del todo[run_id]
            if error is not None:
                failed[run_id] = error
            if scheduler is None:
                left = time_left(forecast.total(todo.values()), count)
                at_work = f"running {min(count, len(todo))}, failed {len(failed)}{left}"
            else:  # how many workers there are, and how fast, is the scheduler's affair
                at_work = f"on Dask, failed {len(failed)}"
            bar.set_postfix_str(at_work)
            bar.update()
    return failed


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_stale(store: Store, run_id: str) -> bool:
    """Whether a record was made by another version of the code, or can't be used."""
    try:
        record = store.read(run_id)
        return bool(record.facts.get("code") != code_version(record.spec))
    except UnusableRecord:
        return True


def attempt(spec: RunSpec, root: Path, data_root: Path, refresh: bool) -> str | None:
    """Runs one specification in a worker.

    Args:
        spec: what is run.
        root: the store's folder.
        data_root: where relative dataset folders start.
        refresh: run it although it is recorded.

    Returns:
        None, or the error as one line, which is then in the store as well.

    Raises:
        OSError: if the machine failed rather than the run.
    """
    torch.set_num_threads(1)
    store = Store(root)
    try:
        run(spec, store, data_root, refresh, show_progress=False)
    except OSError:
        raise
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        lines = [] if isinstance(error, UserError) else traceback.format_exc().splitlines()[-6:]
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        store.write_failure(
            spec,
            {"id": spec.id(), "error": message, "kind": type(error).__name__, "trace": lines, "failed": now},
        )
        return message
    return None


def _lost(spec: RunSpec, store: Store) -> str:
    message = "its worker died each time it was tried (out of memory, or killed)"
    store.write_failure(
        spec,
        {
            "id": spec.id(),
            "error": message,
            "kind": "WorkerLost",
            "trace": [],
            "failed": environment()["finished"],
        },
    )
    return message


def _on_this_machine(
    todo: dict[str, RunSpec], store: Store, data_root: Path, count: int, stale: set[str]
) -> Iterator[tuple[str, str | None]]:
    queue, lost = deque(todo.values()), Counter[str]()

    def room(flying: Iterable[RunSpec]) -> int:
        # A run that was twice at work when a worker died goes alone, so that no other is blamed for it.
        return 1 if any(lost[spec.id()] > 1 for spec in (queue[0], *flying)) else count

    while queue:
        flying: dict[Future[str | None], RunSpec] = {}
        try:
            with process_pool(count) as pool:
                while queue or flying:
                    # No more than workers: what flies when the pool breaks was at work.
                    while queue and len(flying) < room(flying.values()):
                        spec = queue[0]
                        task = pool.submit(attempt, spec, store.root, data_root, spec.id() in stale)
                        flying[task] = queue.popleft()  # only now: a pool that is broken takes nothing
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        error = future.result()
                        yield flying.pop(future).id(), error
        except BrokenProcessPool:
            for spec in flying.values():
                lost[spec.id()] += 1
                if store.has(spec.id()) and not (spec.id() in stale and is_stale(store, spec.id())):
                    yield spec.id(), None
                elif lost[spec.id()] >= TRIES:
                    yield spec.id(), _lost(spec, store)
                else:
                    queue.append(spec)  # behind the others, which may have done nothing wrong


def _on_dask(
    todo: dict[str, RunSpec], store: Store, data_root: Path, address: str, stale: set[str]
) -> Iterator[tuple[str, str | None]]:
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise UserError(
            "--scheduler needs an optional package: pip install -e '.[dask]' -c constraints.txt"
        ) from None
    try:
        client = Client(address, timeout=20, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--scheduler {address}: no Dask scheduler answers ({str(error).splitlines()[0]})"
        ) from None
    with client:
        root, data = store.root.resolve(), data_root.resolve()
        futures = {
            client.submit(
                _attempt_elsewhere,
                spec,
                root,
                data,
                run_id in stale,
                key=f"{run_id}-{os.getpid()}",
                pure=False,
                retries=TRIES,
            ): run_id
            for run_id, spec in todo.items()
        }
        for future in as_completed(list(futures), loop=client.loop):
            run_id = futures[future]
            try:
                message, files = future.result()
            except KilledWorker:
                message, files = _lost(todo[run_id], store), {}
            except OSError:
                raise
            except Exception as reason:  # cancelled: the scheduler is gone
                lost = f"the Dask scheduler at {address} is lost ({type(reason).__name__})"
                raise OSError(f"{lost}; start it again and repeat the command") from None
            if files and store.files(run_id) != files:  # no shared folder
                store.adopt(run_id, files)
            yield run_id, message


def _attempt_elsewhere(
    spec: RunSpec, root: Path, data_root: Path, refresh: bool
) -> tuple[str | None, dict[str, bytes]]:
    return attempt(spec, root, data_root, refresh), Store(root).files(spec.id())


def run_many(
    specs: Iterable[RunSpec], store: Store, data_root: Path = Path(), workers: int | None = None
) -> list[Record]:
    """Runs specifications in parallel processes, one thread each; those already recorded are read.

    Args:
        specs: what is to be run.
        store: where to.
        data_root: where relative dataset folders start.
        workers: processes; None means one for each core.

    Returns:
        Their records, in the order of ``specs``.

    Raises:
        UserError: after all others are done, if a run failed; names it and its error.
    """
    specs = list(specs)
    failed = execute(specs, store, data_root, workers=workers)
    if failed:
        run_id, reason = next(iter(failed.items()))
        method = next(spec.method for spec in specs if spec.id() == run_id)
        raise UserError(f"{len(failed)} of {len(specs)} runs failed; first {run_id} ({method}): {reason}")
    return [store.read(spec.id()) for spec in specs]
