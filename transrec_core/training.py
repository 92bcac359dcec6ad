"""fit(): one training run, on accelerate, that can be killed at any moment and resumed to the same end.

It asks the model what trains and knows no adapter by name. Whatever stays fixed below the head is computed once.
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from pydantic import Field, model_validator
from safetensors import safe_open
from torch import Tensor
from tqdm import tqdm

from transrec_core.adapters.base import StrictModel
from transrec_core.artefacts import cached_states
from transrec_core.data.batching import Batcher, Loss
from transrec_core.data.domain import Domain
from transrec_core.errors import UserError
from transrec_core.evaluation import evaluate, metrics
from transrec_core.files import save_tensors
from transrec_core.models.transrec import TransRec


class StepSizes(StrictModel):
    """Peak learning rate of each part; a part that does not train is not touched. The defaults suit a pretrained encoder of usual size."""

    encoder: float = Field(1e-4, ge=0)
    head: float = Field(1e-3, ge=0)
    user: float = Field(1e-3, ge=0)
    adapter: float = Field(1e-3, ge=0)


class TrainSpec(StrictModel):
    """How long and how a run trains.

    Attributes:
        steps: most optimiser steps. min_steps: early stopping waits for these (training may sit on a plateau first).
        eval_every: steps between validations. patience: validations without a better one before stopping.
        batch_size: users a step. loss: candidates ("catalogue", "batch", or "bce" with one negative for each position).
        lr: step sizes. weight_decay, clip (largest gradient norm), warmup (steps), schedule: of AdamW.
        precision: "fp32" or "bf16" (autocast).
    """

    steps: int = Field(600, ge=1)
    min_steps: int = Field(200, ge=0)
    eval_every: int = Field(100, ge=1)
    patience: int = Field(6, ge=1)
    batch_size: int = Field(32, ge=1)
    loss: Loss = "batch"
    lr: StepSizes = StepSizes()
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(5.0, gt=0)
    warmup: int = Field(20, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    precision: Literal["fp32", "bf16"] = "fp32"

    @model_validator(mode="after")
    def _budget_in_order(self) -> TrainSpec:
        if self.min_steps > self.steps:
            raise ValueError(f"min_steps={self.min_steps} is more than steps={self.steps}")
        return self

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at a step (0-based): linear warm-up, then cosine to zero or constant."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


@dataclass
class Progress:
    """State of a run besides its tensors; what a checkpoint's metadata holds."""

    step: int = 0
    best_step: int = -1
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def reset_peak_memory() -> None:
    """Makes :func:`peak_memory_mb` count from now (on Linux and on a GPU; elsewhere it counts from the process's start)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory: of the GPU if there is one, else the resident set of this process, in MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(lines[0].split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def fit(
    model: TransRec, domain: Domain, spec: TrainSpec, seed: int, checkpoint: Path | None = None,
    show_progress: bool = True, on_evaluation: Callable[[Progress], None] | None = None, cache: Path | None = None,
) -> Progress:  # fmt: skip
    """Trains what is trainable in ``model`` on the training part of ``domain`` and leaves the best validated state in it.

    Args:
        model: with ``requires_grad`` set on exactly what is to train. domain: whose validation items choose the best state (NDCG@10).
        spec: budget and step sizes. seed: of batches, negatives and dropout. checkpoint: file to resume from and to write
            at each validation; one file, renamed into place. show_progress: a bar with loss and HR@10.
        on_evaluation: called after each validation, once its checkpoint is on disk. cache: folder for states of a fixed backbone.

    Raises:
        UserError: if nothing is trainable, the loss is no longer a number, or the checkpoint belongs to another run.
    """
    groups = model.parameter_groups()
    if not groups:
        raise UserError("nothing to train: no parameter is trainable (strategy 'frozen' needs no training)")
    accelerator = Accelerator()
    device = accelerator.device
    # Precision is this run's own: accelerate's setting belongs to the process and could not change from one run to the next.
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16")
    model.to(device).train()
    options: list[dict[str, Any]] = [{"params": p, "lr": getattr(spec.lr, role)} for role, p in groups.items()]
    peaks = [group["lr"] for group in options]
    optimizer = torch.optim.AdamW(options, weight_decay=spec.weight_decay, fused=True)
    wrapped, prepared = accelerator.prepare(model, optimizer)
    batcher = Batcher(
        domain.split.train, model.spec.objective, spec.loss, spec.batch_size, model.spec.max_len, seed,
        (accelerator.process_index, accelerator.num_processes),
    )  # fmt: skip
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    progress, best = Progress(), {name: p.detach().clone() for name, p in trained.items()}
    torch.manual_seed(seed)
    if checkpoint is not None and checkpoint.exists():
        progress = _load(checkpoint, trained, best, optimizer)
    features = item_features(model, domain, cache)
    if not progress.history:  # an untrained start can be the best: then best_step is 0, and the record shows it
        valid = metrics(evaluate(model, domain, "valid", _vectors(model, domain, features)))
        progress.history.append({"step": 0, **valid})
        progress.best_step, progress.best_score = 0, valid["NDCG@10"]
    began = time.perf_counter() - progress.seconds
    loss_sum = torch.zeros((), device=device)
    with tqdm(total=spec.steps, initial=progress.step, disable=not show_progress, unit="step", leave=False) as bar:
        while progress.step < spec.steps and not _done(progress, spec):
            factor = spec.factor(progress.step)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            batch = batcher.batch(progress.step).to(device)
            with autocast:
                loss = wrapped(features(batch.items), batch)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(trained.values(), spec.clip)
            prepared.step()
            prepared.zero_grad()
            progress.step += 1
            loss_sum += loss.detach()  # no .item() here: it would make the CPU wait for the GPU
            bar.update()
            if progress.step % spec.eval_every == 0 or progress.step == spec.steps:
                since = progress.step - int(progress.history[-1]["step"])
                mean_loss = float(loss_sum) / since
                loss_sum.zero_()
                if not math.isfinite(mean_loss):
                    raise UserError(f"the loss is no longer a number at step {progress.step}: use smaller step sizes (training.lr)")
                valid = metrics(evaluate(model, domain, "valid", _vectors(model, domain, features)))
                progress.history.append({"step": progress.step, "loss": mean_loss, **valid})
                if valid["NDCG@10"] > progress.best_score:
                    progress.best_score, progress.best_step = valid["NDCG@10"], progress.step
                    best = {name: p.detach().clone() for name, p in trained.items()}
                progress.seconds = time.perf_counter() - began
                bar.set_postfix_str(f"loss {mean_loss:.3f}, HR@10 {100 * valid['HR@10']:.1f} %")
                if checkpoint is not None and accelerator.is_main_process:
                    _save(checkpoint, progress, trained, best, optimizer)
                if on_evaluation is not None:
                    on_evaluation(progress)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(best[name])
    return progress


def _done(progress: Progress, spec: TrainSpec) -> bool:
    waited = progress.step - progress.best_step >= spec.patience * spec.eval_every
    return waited and progress.step >= max(spec.min_steps, 1)


def item_features(model: TransRec, domain: Domain, cache: Path | None = None) -> Callable[[Tensor], dict[str, Tensor]]:
    """Item numbers -> what the item encoder reads; if the backbone is fixed, its pooled states, computed once (for all runs that share ``cache``)."""
    device = next(model.parameters()).device
    if model.backbone_is_fixed():
        facts = f"{domain.catalog.fingerprint()} {model.spec.pooling} {model.reads_every_layer('item')}"
        weights = list(model.backbone_parameters())
        pooled = cached_states(cache, weights, facts, lambda: model.pooled_catalogue(domain.catalog)).to(device)
        return lambda items: {"pooled": pooled[items]}
    return lambda items: {k: v.to(device) for k, v in domain.catalog.batch(items.cpu()).items()}


def _vectors(model: TransRec, domain: Domain, features: Callable[[Tensor], dict[str, Tensor]]) -> Tensor | None:
    """Item vectors from the cached pooled states, if there are such; None lets the evaluation encode the items."""
    if not model.backbone_is_fixed():
        return None
    device = next(model.parameters()).device
    with torch.no_grad():
        found = model.encode_items(features(torch.arange(1, domain.catalog.n_items + 1, device=device)))
    return torch.cat([found.new_zeros(1, found.shape[1]), found])


def _save(path: Path, progress: Progress, trained: dict[str, Any], best: dict[str, Tensor], optimizer: Any) -> None:
    tensors = {f"now.{k}": v for k, v in trained.items()} | {f"best.{k}": v for k, v in best.items()}
    for name, parameter in trained.items():
        for key, value in optimizer.state[parameter].items():
            tensors[f"adam.{key}.{name}"] = value
    tensors["rng"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["cuda_rng"] = torch.cuda.get_rng_state()
    save_tensors(path, tensors, {"progress": json.dumps(asdict(progress))})


def _load(path: Path, trained: dict[str, Any], best: dict[str, Tensor], optimizer: Any) -> Progress:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            progress = Progress(**json.loads(file.metadata()["progress"]))
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(tensors[f"now.{name}"])
                best[name].copy_(tensors[f"best.{name}"])
                state = {k: tensors[f"adam.{k}.{name}"] for k in ("exp_avg", "exp_avg_sq", "step")}
                optimizer.state[parameter] = {k: v.to(parameter.device if k != "step" else "cpu") for k, v in state.items()}
    except Exception as error:
        raise UserError(f"{path}: not a checkpoint of this run ({str(error).splitlines()[0]}); delete it to start again") from None
    torch.set_rng_state(tensors["rng"])
    if torch.cuda.is_available() and "cuda_rng" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_rng"])
    return progress
