"""Where a specification becomes a record: one run, and many together."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from transrec_core.base.errors import UserError
from transrec_core.data.catalog import IdCatalog
from transrec_core.data.domain import Domain
from transrec_core.evaluation.cold import cold_targets, packed_bits
from transrec_core.evaluation.controls import nearest_ranks, popularity_ranks
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import model_ranks
from transrec_core.models.transrec import TransRec
from transrec_core.study.checks import check_run
from transrec_core.study.kept import keep as keep_model
from transrec_core.study.kept import recommend_line
from transrec_core.study.provenance import code_version, environment
from transrec_core.study.record import Record, cases_fingerprint
from transrec_core.study.specs import TRAINED, WITHOUT_CONTENT, RunSpec
from transrec_core.study.stages import build_model, domains, initial_model
from transrec_core.study.store import Store
from transrec_core.training.artefacts import exclusive
from transrec_core.training.memory import peak_memory_mb, reset_peak_memory
from transrec_core.training.trainer import fit
from transrec_core.world.encoders import RECIPES, encoder_facts, encoder_folder
from transrec_core.world.loading import world


def run(
    spec: RunSpec,
    store: Store,
    data_root: Path = Path(),
    refresh: bool = False,
    show_progress: bool = True,
    keep: bool = False,
) -> Record:
    """Runs a specification, or returns its record if there is one. A killed run goes on from its last
    validation.

    Two processes that are asked for the same run do it once; processes that ``accelerate launch`` started
    share it, and the main one writes.

    Args:
        spec: what to run.
        store: where records, source models and kept states are.
        data_root: where relative dataset folders start.
        refresh: run again although it is recorded.
        show_progress: a bar, and remarks, on standard error.
        keep: also keep what was trained, in ``STORE/<id>/model``, so that it can recommend.

    Raises:
        UserError: for anything that the user can mend; also if a record was made from other data of the same
            name.
    """
    check_run(spec)
    asked = time.time()
    with exclusive(store.root / "locks" / spec.id()):
        path = store.folder(spec.id()) / "record.json"
        if refresh and path.exists() and path.stat().st_mtime > asked:
            refresh = False  # somebody else was asked for the same, and has just done it
        return _run(spec, store, data_root, refresh, show_progress, keep)


def _run(
    spec: RunSpec, store: Store, data_root: Path, refresh: bool, show_progress: bool, keep: bool
) -> Record:
    for left in store.folder(spec.id()).glob(".*.tmp"):  # of a process that was killed while it wrote
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    source, target = domains(spec, data_root)
    if spec.strategy == "item_id":
        target = replace(target, catalog=IdCatalog(target.catalog.n_items), truth=None, reader=None)
    fingerprint = f"{source.fingerprint()[:16]}-{target.fingerprint()[:16]}"
    if store.has(spec.id()) and not refresh:
        record = store.read(spec.id())
        if record.facts["data_fingerprint"] != fingerprint:
            raise UserError(
                f"{store.folder(spec.id())}: recorded from other data of the same name; use --refresh or "
                "another --store"
            )
        if keep and spec.strategy in TRAINED and recommend_line(spec.id(), store.root) is None:
            print("recorded already, without its model; --refresh trains again and keeps it", file=sys.stderr)
        return record
    reset_peak_memory()
    began = time.perf_counter()
    facts: dict[str, Any] = {"id": spec.id(), "method": spec.method, "data_fingerprint": fingerprint}
    facts |= {"cases_fingerprint": cases_fingerprint(target), "items": target.catalog.n_items}
    cold = None if spec.target.is_world else cold_targets(target)
    if cold is not None:
        facts |= {"cold": packed_bits(cold), "cold_cases": int(cold.sum())}
    if spec.encoder in RECIPES and spec.strategy not in WITHOUT_CONTENT:
        facts |= encoder_facts(
            spec.encoder,
            encoder_folder(spec.encoder, spec.target.modality, store.root, data_root, show_progress),
        )
    model = None
    if spec.strategy == "popularity":
        ranks = popularity_ranks(target)
    elif spec.strategy == "oracle":
        ranks = world(spec.target.titles, spec.target.modality).oracle().ranks
    elif spec.strategy == "nearest":
        ranks = nearest_ranks(initial_model(spec, store, data_root), target)
    else:
        model = build_model(spec, store, data_root, target, show_progress)
        trained, total = model.trainable_parameters()
        facts |= {"trainable_parameters": trained, "total_parameters": total}
        if spec.strategy in TRAINED:
            facts |= _train(model, spec, store, target, refresh, show_progress)
        facts["device"] = str(next(model.parameters()).device.type)
        facts["peak_memory_mb"] = round(peak_memory_mb(next(model.parameters()).device), 1)
        ranks = model_ranks(model, target, "all")
    if cold is not None and cold.any():
        facts["cold_median_rank"] = float(np.median(ranks[cold]))  # a packed record has no ranks above 20
    facts |= {
        "metrics": metrics(ranks),
        "cases": len(ranks),
        "seconds": round(time.perf_counter() - began, 3),
    }
    if keep and model is not None and spec.strategy in TRAINED:
        keep_model(model, spec, store, target)
    if PartialState().is_main_process:
        store.write(spec, facts | environment(spec), ranks)
    PartialState().wait_for_everyone()
    return store.read(spec.id())


def _train(
    model: TransRec, spec: RunSpec, store: Store, target: Domain, refresh: bool, show_progress: bool
) -> dict[str, Any]:
    """Trains the model of a run, going on from its checkpoint if there is one; what a record says of it."""
    checkpoint = store.folder(spec.id()) / "checkpoint.safetensors"
    if refresh:
        checkpoint.unlink(missing_ok=True)
    reset_peak_memory()
    progress = fit(
        model,
        target,
        spec.training,
        spec.seed,
        checkpoint,
        show_progress,
        cache=store.root / "features" / code_version(),
    )
    best = next(entry for entry in progress.history if entry["step"] == progress.best_step)
    facts: dict[str, Any] = {
        "steps": progress.step,
        "best_step": progress.best_step,
        "train_seconds": round(progress.seconds, 3),
        "seconds_per_step": progress.seconds / max(1, progress.step),
        "valid": best,
        "history": progress.history,
    }
    return facts | ({"cached": progress.cached} if progress.cached else {})
