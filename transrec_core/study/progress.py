"""How far a study is, and how long it may still take: read from the store, so that any terminal can ask."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median

from filelock import FileLock, Timeout
from tqdm import tqdm

from transrec_core.study.profile import Cell, Variant
from transrec_core.study.provenance import code_version
from transrec_core.study.record import Record, UnusableRecord
from transrec_core.study.specs import RunSpec
from transrec_core.study.store import Store

#: Records that ship with the project; they tell how long runs take where the store has none of the kind.
SHIPPED = Path(__file__).resolve().parents[2] / "results" / "study"


class Forecast:
    """Expected seconds of runs, from past ones: those of the same kind, else of the same modality, scaled
    by their steps.

    Args:
        stores: where past runs are recorded, besides those that ship.
    """

    def __init__(self, *stores: Store) -> None:
        self.exact: dict[tuple[object, ...], list[float]] = defaultdict(list)
        self.rates: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for store in (*stores, Store(SHIPPED)):
            for record in store.scan()[0]:
                self.learn(record)

    def learn(self, record: Record) -> None:
        """Takes one more record into account."""
        spec, seconds = record.spec, float(record.facts["seconds"])
        self.exact[_kind(spec)].append(seconds)
        if "steps" in record.facts:
            self.rates[spec.target.folder, spec.target.modality].append(
                seconds / max(1, record.facts["steps"])
            )

    def seconds(self, spec: RunSpec) -> float | None:
        """Expected seconds of a run on one core; None if nothing like it was ever run."""
        if known := self.exact.get(_kind(spec)):
            return median(known)
        if rates := self.rates.get((spec.target.folder, spec.target.modality)):
            return median(rates) * spec.training.steps
        return None

    def total(self, specs: Iterable[RunSpec]) -> float | None:
        """Expected seconds of several runs, one after the other; None if one of them is unlike all past
        runs.
        """
        times = [self.seconds(spec) for spec in specs]
        return None if None in times else sum(seconds for seconds in times if seconds is not None)


def _kind(spec: RunSpec) -> tuple[object, ...]:
    return (
        spec.target.folder,
        spec.target.modality,
        spec.target.share,
        spec.encoder,
        spec.method,
        spec.training.steps,
        spec.training.batch_size,
        spec.source.data.share,
        spec.source.training.steps,
    )


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_left(left: float | None, workers: int) -> str:
    """The end of a line of progress: the time left, if it is known.

    Args:
        left: seconds on one core; None if that is not known.
        workers: how many work side by side.
    """
    return "" if left is None else f", about {duration(left / max(1, workers))} left"


def state(store: Store, run_id: str) -> str:
    """Where a run stands.

    Args:
        store: where its record would be.
        run_id: its id.

    Returns:
        "recorded", "other code", "damaged", "outdated", "running", "failed" or "to run".
    """
    if store.has(run_id):
        try:
            record = store.read(run_id)
            return "recorded" if record.facts.get("code") == code_version(record.spec) else "other code"
        except UnusableRecord as error:
            return error.word
    path = store.root / "locks" / f"{run_id}.lock"
    if path.exists():
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
            lock.release()
        except Timeout:
            return "running"
    return "failed" if (store.folder(run_id) / "failure.json").exists() else "to run"


def forecast_lines(
    store: Store, plan: Mapping[str, tuple[Cell, Variant, RunSpec]], untuned: Iterable[str], workers: int
) -> Iterator[str]:
    """What a study would run: a line a run with its state and expected time, then what has no step size yet,
    and the total.

    Args:
        store: where its records are.
        plan: cell, variant and specification by the run's id.
        untuned: what has no step size yet, in words.
        workers: how many work side by side.
    """
    states = {run_id: state(store, run_id) for run_id in plan}
    forecast = Forecast(store)
    for run_id, (cell, variant, spec) in plan.items():
        seconds = None if states[run_id] == "recorded" else forecast.seconds(spec)
        place = f"{cell.name:<26} {variant.label():<34} seed {spec.seed}"
        expected = "" if seconds is None else duration(seconds)
        yield f"{run_id}  {states[run_id]:<10}  {place}  {expected:>6}".rstrip()
    for name in untuned:
        yield f"without step size yet: {name}"
    todo = [run_id for run_id, where in states.items() if where not in ("recorded", "other code")]
    left = time_left(forecast.total(plan[run_id][2] for run_id in todo) if todo else None, workers)
    others = sum(where == "other code" for where in states.values())
    by_others = f"; {others} recorded by another version of the code, which --refresh runs again"
    yield f"{len(plan)} runs, {len(todo)} to run{left} with {workers} workers{by_others if others else ''}"


def watch(store: Store, specs: Mapping[str, RunSpec], every: float = 2.0) -> None:
    """Shows the progress of a study that runs elsewhere, until all its runs have ended or Ctrl-C.

    Args:
        store: where its records are.
        specs: its runs by id.
        every: seconds between two looks.
    """
    forecast, open_ = Forecast(store), list(specs)
    with tqdm(
        total=len(specs), unit="run", bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} runs{postfix}"
    ) as bar:
        while True:
            states = {run_id: state(store, run_id) for run_id in open_}
            for run_id, what in states.items():
                if what in ("recorded", "other code"):
                    forecast.learn(store.read(run_id))
            open_ = [run_id for run_id, what in states.items() if what not in ("recorded", "other code")]
            at_work = [run_id for run_id in open_ if states[run_id] == "running"]
            failed = [run_id for run_id in open_ if states[run_id] in ("failed", "damaged", "outdated")]
            left = forecast.total(specs[run_id] for run_id in open_ if run_id not in failed)
            bar.n = len(specs) - len(open_)
            at_once = f"running {len(at_work)}, failed {len(failed)}"
            bar.set_postfix_str(at_once + time_left(left, len(at_work)))
            bar.refresh()
            if len(open_) == len(failed):
                return
            time.sleep(every)
