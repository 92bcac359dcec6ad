"""fit(): one training run, on accelerate, that can be killed at any moment and resumed to the same end.

It asks the model what trains and knows no adapter by name. What can't change in training is computed once
(``features.py``).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batcher
from transrec_core.data.catalog import Parts
from transrec_core.data.domain import Domain
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import model_ranks
from transrec_core.models.transrec import TransRec
from transrec_core.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from transrec_core.training.inputs import ItemInputs
from transrec_core.training.memory import backward_in_parts, recompute_activations
from transrec_core.training.spec import TrainSpec


def fit(
    model: TransRec,
    domain: Domain,
    spec: TrainSpec,
    seed: int,
    checkpoint: Path | None = None,
    show_progress: bool = True,
    on_evaluation: Callable[[Progress], None] | None = None,
    cache: Path | None = None,
) -> Progress:
    """Trains what is trainable in ``model`` on the training part of ``domain`` and leaves the best validated
    state in it.

    Args:
        model: with ``requires_grad`` set on exactly what is to train.
        domain: whose validation items choose the best state (NDCG@10).
        spec: budget and step sizes.
        seed: of batches, negatives and dropout.
        checkpoint: file to resume from and to write at each validation; one file, renamed into place.
        show_progress: a bar with loss and HR@10.
        on_evaluation: called after each validation, once its checkpoint is on disk.
        cache: folder for states of a fixed backbone.

    Raises:
        UserError: if nothing is trainable, the loss is no longer a number, or the checkpoint belongs to
            another run.
    """
    model.remember(domain)
    groups = model.parameter_groups()
    if not groups:
        raise UserError("nothing to train: no parameter is trainable (strategy 'frozen' needs no training)")
    accelerator = Accelerator()
    if spec.accumulate > 1 and accelerator.num_processes > 1:
        raise UserError(
            "training.accumulate works in one process; with several, a smaller batch_size saves the same memory"
        )
    device = accelerator.device
    # Precision is this run's own: accelerate's setting belongs to the process and could not change from one
    # run to the next.
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=spec.precision == "bf16")
    model.to(device).train()
    options: list[dict[str, Any]] = [
        {"params": p, "lr": getattr(spec.lr, role)} for role, p in groups.items()
    ]
    peaks = [group["lr"] for group in options]
    optimizer = torch.optim.AdamW(options, weight_decay=spec.weight_decay, fused=True)
    wrapped, prepared = accelerator.prepare(model, optimizer)
    batcher = Batcher(
        domain.split.train,
        model.spec.objective,
        spec.loss,
        spec.batch_size,
        model.spec.max_len,
        seed,
        (accelerator.process_index, accelerator.num_processes),
    )
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    progress, best = Progress(), {name: p.detach().clone() for name, p in trained.items()}
    torch.manual_seed(seed)
    if checkpoint is not None and checkpoint.exists():
        progress = load_checkpoint(checkpoint, trained, best, optimizer)
    inputs = ItemInputs(model, domain.catalog, cache, spec.cache, spec.cache_gb)
    progress.cached = inputs.note
    if show_progress and inputs.note:
        tqdm.write(inputs.note, file=sys.stderr)

    def validated() -> dict[str, float]:
        with autocast:
            vectors = inputs.catalogue()
        return metrics(model_ranks(model, domain, "valid", vectors))

    recompute_activations(model, spec.checkpointing)
    if (
        not progress.history
    ):  # an untrained start can be the best: then best_step is 0, and the record shows it
        valid = validated()
        progress.history.append({"step": 0, **valid})
        progress.best_step, progress.best_score = 0, valid["NDCG@10"]
    began = time.perf_counter() - progress.seconds
    loss_sum = torch.zeros((), device=device)
    with tqdm(
        total=spec.steps, initial=progress.step, disable=not show_progress, unit="step", leave=False
    ) as bar:
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
                    raise UserError(
                        f"the loss is no longer a number at step {progress.step}: use smaller step sizes (training.lr)"
                    )
                valid = validated()
                progress.history.append({"step": progress.step, "loss": mean_loss, **valid})
                if valid["NDCG@10"] > progress.best_score:
                    progress.best_score, progress.best_step = valid["NDCG@10"], progress.step
                    best = {name: p.detach().clone() for name, p in trained.items()}
                progress.seconds = time.perf_counter() - began
                bar.set_postfix_str(f"loss {mean_loss:.3f}, HR@10 {100 * valid['HR@10']:.1f} %")
                if checkpoint is not None and accelerator.is_main_process:
                    save_checkpoint(checkpoint, progress, trained, best, optimizer)
                if on_evaluation is not None:
                    on_evaluation(progress)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(best[name])
    return progress


def _done(progress: Progress, spec: TrainSpec) -> bool:
    waited = progress.step - progress.best_step >= spec.patience * spec.eval_every
    return waited and progress.step >= max(spec.min_steps, 1)
