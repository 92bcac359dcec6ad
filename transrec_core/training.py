"""fit(): one training run, on accelerate, that can be killed at any moment and resumed to the same end.

It asks the model what trains and knows no adapter by name. What can't change in training is computed once (``features.py``).
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
from transrec_core.data.batching import Batch, Batcher, Loss
from transrec_core.data.catalog import Parts
from transrec_core.data.domain import Domain
from transrec_core.errors import UserError
from transrec_core.evaluation import evaluate, metrics
from transrec_core.features import Cache, ItemInputs
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
        precision: "fp32" or "bf16" (autocast of the training step and of the item vectors that validation ranks by).
        cache: states of frozen layers are computed once and kept, in single ("fp32", exact) or half precision ("fp16"), or not ("off").
        cache_gb: the most that they may take. checkpointing: the item encoder keeps its layers' inputs only and computes the rest again
            in the backward pass. accumulate: the items of a batch are encoded in so many parts, one after the other. Both give the same
            gradient for less memory and more time.
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
    cache: Cache = "fp32"
    cache_gb: float = Field(8.0, ge=0)
    checkpointing: bool = False
    accumulate: int = Field(1, ge=1)

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
    cached: str | None = None  # what was kept of frozen layers, in words


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
    if spec.accumulate > 1 and accelerator.num_processes > 1:
        raise UserError("training.accumulate works in one process; with several, a smaller batch_size saves the same memory")
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
    inputs = ItemInputs(model, domain.catalog, cache, spec.cache, spec.cache_gb)
    progress.cached = inputs.note
    if show_progress and inputs.note:
        tqdm.write(inputs.note, file=sys.stderr)

    def validated() -> dict[str, float]:
        with autocast:
            vectors = inputs.catalogue()
        return metrics(evaluate(model, domain, "valid", vectors))

    recompute_activations(model, spec.checkpointing)
    if not progress.history:  # an untrained start can be the best: then best_step is 0, and the record shows it
        valid = validated()
        progress.history.append({"step": 0, **valid})
        progress.best_step, progress.best_score = 0, valid["NDCG@10"]
    began = time.perf_counter() - progress.seconds
    loss_sum = torch.zeros((), device=device)
    with tqdm(total=spec.steps, initial=progress.step, disable=not show_progress, unit="step", leave=False) as bar:
        while progress.step < spec.steps and not _done(progress, spec):
            factor = spec.factor(progress.step)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            batch = batcher.batch(progress.step)
            features, batch = inputs(batch.items, spec.accumulate), batch.to(device)
            if isinstance(features, Parts) and spec.accumulate > 1:
                loss = backward_in_parts(model, features, batch, autocast)
            else:
                with autocast:
                    loss = wrapped(features, batch)
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
                valid = validated()
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


def backward_in_parts(model: TransRec, features: Parts, batch: Batch, autocast: Any) -> Tensor:
    """The loss of a batch and its gradients, with the activations of one part of its items in memory at a time.

    All items are encoded without a graph; the loss gives a gradient for each item vector; then part after part is encoded again, with the
    same dropout, and passes its vectors' gradients on (GradCache, Gao et al. 2021, https://arxiv.org/abs/2101.06983, section 3.2).
    """
    devices = [batch.inputs.device] if batch.inputs.device.type == "cuda" else []
    found, states = [], []
    with torch.no_grad(), autocast:
        for part in features.features:
            states.append((torch.get_rng_state(), [torch.cuda.get_rng_state(d) for d in devices]))
            found.append(model.encode_items(part))
    vectors = features.joined(found).requires_grad_()
    with autocast:
        loss = model.loss(vectors, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    gradients = torch.empty_like(vectors.grad)
    gradients[features.order] = vectors.grad  # back to the order of the parts
    for part, (state, on_gpu), gradient in zip(features.features, states, gradients.split([len(f) for f in found]), strict=True):
        with torch.random.fork_rng(devices):
            torch.set_rng_state(state)
            for device, there in zip(devices, on_gpu, strict=True):
                torch.cuda.set_rng_state(there, device)
            with autocast:
                again = model.encode_items(part)
        if again.requires_grad:
            again.backward(gradient)  # type: ignore[no-untyped-call]
    return loss.detach()


def recompute_activations(model: TransRec, on: bool) -> None:
    """Lets the item encoder keep its layers' inputs only and compute the rest again in the backward pass, or not."""
    backbone: Any = getattr(model.item_encoder, "backbone", None)
    if backbone is None or on == any(getattr(module, "gradient_checkpointing", False) for module in backbone.modules()):
        return
    name = "activation_checkpointing" if hasattr(backbone, "activation_checkpointing_enable") else "gradient_checkpointing"  # its older name
    if on:
        getattr(backbone, f"{name}_enable")({"use_reentrant": False})
    else:
        getattr(backbone, f"{name}_disable")()


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
