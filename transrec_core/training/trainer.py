"""Training, on accelerate: a loop that can be killed at any moment and resumed to the same end.

It asks the model what trains and knows no adapter by name. What can't change in training is computed once
(``inputs.py``).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batch, Batcher
from transrec_core.data.domain import Domain
from transrec_core.data.parts import Parts
from transrec_core.evaluation.metrics import metrics
from transrec_core.evaluation.ranking import model_ranks
from transrec_core.models.transrec import TransRec
from transrec_core.training.checkpoints import Progress, load_checkpoint, save_checkpoint
from transrec_core.training.inputs import item_inputs
from transrec_core.training.memory import backward_in_parts, recompute_activations
from transrec_core.training.spec import Cache, TrainSpec

OnStep = Callable[[Progress, Tensor], None]
OnEvaluation = Callable[[Progress], None]


class Trainer:
    """Trains what is trainable in a model, step by step.

    Args:
        model: with ``requires_grad`` set on exactly what is to train; it moves to the device of accelerate.
        domain: its training part gives the batches, its validation items choose the best state (NDCG@10).
        spec: budget and step sizes.
        seed: of batches, negatives and dropout.
        checkpoint: file that :meth:`save` writes and :meth:`resume` reads; None for neither.
        cache: folder where states of frozen layers are kept for all runs that share it; None keeps them in
            memory.

    Attributes:
        progress: steps so far, the best of them, and the history of validations.
        trained: parameters that train, by name.
        best: their values at the best validation so far.
        inputs: how items are read (:func:`transrec_core.training.inputs.item_inputs`).
        batcher: draws the batches.

    Raises:
        UserError: if the encoder can't read the items, nothing is trainable, or ``spec.accumulate`` meets
            several processes.
    """

    def __init__(
        self,
        model: TransRec,
        domain: Domain,
        spec: TrainSpec | None = None,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self.model, self.domain, self.spec = model, domain, spec or TrainSpec()
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        spec = self.spec
        model.remember(domain)  # also refuses items that its encoder can't read
        self.accelerator = Accelerator()
        shard = self.accelerator.process_index, self.accelerator.num_processes
        if spec.accumulate > 1 and shard[1] > 1:
            raise UserError(
                "training.accumulate works in one process; "
                "with several, a smaller batch_size saves the same memory"
            )
        self.device = self.accelerator.device
        # Precision is this run's own: accelerate's setting belongs to the process and could not change from
        # one run to the next.
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=spec.precision == "bf16")
        optimizer = _adamw(model.to(self.device).train(), spec)
        self._peaks: list[float] = [group["lr"] for group in optimizer.param_groups]
        self.wrapped, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.batcher = Batcher(
            domain.split.train,
            model.spec.objective,
            spec.loss,
            spec.batch_size,
            model.spec.max_len,
            seed,
            shard,
        )
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.progress, self.best = Progress(), self._values()
        self._loss_sum, self._loss_steps = torch.zeros((), device=self.device), 0  # since a validation
        torch.manual_seed(seed)
        self.inputs = item_inputs(
            model, domain.catalog, None if cache is None else Path(cache), spec.cache, spec.cache_gb
        )
        self.progress.cached = self.inputs.note
        recompute_activations(model, spec.checkpointing)

    def train(
        self,
        show_progress: bool = True,
        on_evaluation: OnEvaluation | None = None,
        on_step: OnStep | None = None,
    ) -> Progress:
        """Goes on from the checkpoint, if there is one, to the end of the budget or of patience, and leaves
        the best validated state in the model.

        Args:
            show_progress: a bar with loss and HR@10.
            on_evaluation: as for :func:`fit`.
            on_step: as for :func:`fit`.

        Raises:
            UserError: if the loss is no longer a number, or the checkpoint belongs to another run.
        """
        self.resume()
        if show_progress and self.inputs.note:
            tqdm.write(self.inputs.note, file=sys.stderr)
        if not self.progress.history:
            self.validate()  # an untrained start can be the best; then best_step is 0
        began = time.perf_counter() - self.progress.seconds
        with self._bar(show_progress) as bar:
            while not self.done:
                loss = self.step()
                bar.update()
                if on_step is not None:
                    on_step(self.progress, loss)
                if self.progress.step % self.spec.eval_every == 0 or self.progress.step == self.spec.steps:
                    valid = self.validate()
                    bar.set_postfix_str(f"loss {valid['loss']:.3f}, HR@10 {100 * valid['HR@10']:.1f} %")
                    self.progress.seconds = time.perf_counter() - began
                    self.save()
                    if on_evaluation is not None:
                        on_evaluation(self.progress)
        self.restore_best()
        return self.progress

    @property
    def done(self) -> bool:
        """Whether the budget is spent, or validation has not been better for as long as patience lasts."""
        progress, spec = self.progress, self.spec
        waited = progress.step - progress.best_step >= spec.patience * spec.eval_every
        return progress.step >= spec.steps or (waited and progress.step >= max(spec.min_steps, 1))

    def step(self) -> Tensor:
        """One step of the optimiser.

        Returns:
            The batch's mean loss, on the device: to read it makes the processor wait for a GPU.
        """
        number = self.progress.step
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.spec.factor(number)
        batch = self.batcher.batch(number)
        features = self.inputs(batch.items, self.spec.accumulate)
        loss = self._backward(features, batch.to(self.device))
        self.accelerator.clip_grad_norm_(self.trained.values(), self.spec.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        self._loss_sum += loss  # as a tensor, so that the processor does not wait for a GPU
        self._loss_steps += 1
        return loss

    def _backward(self, features: Any, batch: Batch) -> Tensor:
        if isinstance(features, Parts) and self.spec.accumulate > 1:
            return backward_in_parts(self.model, features, batch, self.autocast)
        with self.autocast:
            loss: Tensor = self.wrapped(features, batch)
        self.accelerator.backward(loss)
        return loss.detach()

    def validate(self) -> dict[str, float]:
        """Ranks the validation items, adds the result to the history, and keeps the state if it is the best.

        Returns:
            The history's new entry: "step", the metrics, and "loss", the mean over the steps since the last
            validation, if there were any.

        Raises:
            UserError: if that loss is not a number.
        """
        progress = self.progress
        entry = {"step": progress.step, **self._mean_loss()}
        with self.autocast:
            vectors = self.inputs.catalogue()
        entry |= metrics(model_ranks(self.model, self.domain, "valid", vectors))
        progress.history.append(entry)
        if entry["NDCG@10"] > progress.best_score:
            progress.best_score, progress.best_step = entry["NDCG@10"], progress.step
            self.best = self._values()
        return entry

    def save(self) -> None:
        """Writes the checkpoint, renamed into place: weights, optimiser, random state and progress."""
        if self.checkpoint is not None and self.accelerator.is_main_process:
            save_checkpoint(self.checkpoint, self.progress, self.trained, self.best, self.optimizer)

    def resume(self) -> bool:
        """Takes up the state of the checkpoint; whether there was one.

        Raises:
            UserError: if it is damaged or belongs to another run.
        """
        if self.checkpoint is None or not self.checkpoint.exists():
            return False
        self.progress = load_checkpoint(self.checkpoint, self.trained, self.best, self.optimizer)
        self.progress.cached = self.inputs.note
        return True

    @torch.no_grad()
    def restore_best(self) -> None:
        """Puts the best validated state into the model."""
        for name, parameter in self.trained.items():
            parameter.copy_(self.best[name])

    def _values(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.trained.items()}

    def _mean_loss(self) -> dict[str, float]:
        if not self._loss_steps:
            return {}
        mean = float(self._loss_sum) / self._loss_steps
        self._loss_sum.zero_()
        self._loss_steps = 0
        if not math.isfinite(mean):
            raise UserError(
                f"the loss is no longer a number at step {self.progress.step}: "
                "use smaller step sizes (training.lr)"
            )
        return {"loss": mean}

    def _bar(self, show: bool) -> tqdm[Any]:
        initial, total = self.progress.step, self.spec.steps
        return tqdm(total=total, initial=initial, disable=not show, unit="step", leave=False)


def _adamw(model: TransRec, spec: TrainSpec) -> torch.optim.AdamW:
    # A group of parameters for each role, with its peak learning rate.
    groups = model.parameter_groups()
    if not groups:
        raise UserError("nothing to train: no parameter is trainable (strategy 'frozen' needs no training)")
    options = [{"params": p, "lr": getattr(spec.lr, role)} for role, p in groups.items()]
    return torch.optim.AdamW(options, weight_decay=spec.weight_decay, fused=True)


def fit(
    model: TransRec,
    domain: Domain,
    spec: TrainSpec | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    show_progress: bool = True,
    on_evaluation: OnEvaluation | None = None,
    cache: str | Path | None = None,
    on_step: OnStep | None = None,
    **fields: Any,
) -> Progress:
    """Trains what is trainable in ``model`` on the training part of ``domain`` and leaves the best validated
    state in it: :class:`Trainer` in one call. ``fit(model, domain, steps=300)`` is enough.

    Args:
        model: with ``requires_grad`` set on exactly what is to train.
        domain: whose validation items choose the best state (NDCG@10).
        spec: budget and step sizes; None for the defaults.
        seed: of batches, negatives and dropout.
        checkpoint: file to resume from and to write at each validation; one file, renamed into place.
        show_progress: a bar with loss and HR@10.
        on_evaluation: called as ``on_evaluation(progress)`` after each validation, once its checkpoint is on
            disk; the last entry of ``progress.history`` has the metrics.
        cache: folder for states of frozen layers, shared by runs; None keeps them in memory. "fp32", "fp16"
            and "off" are read as the field of that name.
        on_step: called as ``on_step(progress, loss)`` after each step, before a validation that follows;
            ``progress.step`` counts from 1, and ``loss`` is the batch's mean loss as a tensor without
            dimensions on the device (``float(loss)`` makes the processor wait for a GPU).
        fields: of :class:`TrainSpec`, in place of the values of ``spec``; ``lr`` may be one number for all
            parts, and ``min_steps`` follows ``steps`` down.

    Returns:
        The history of validations, and the best of them.

    Raises:
        UserError: if a field is unknown or out of range, nothing is trainable, the loss is no longer a
            number, or the checkpoint belongs to another run.
    """
    if cache in get_args(Cache):
        fields, cache = {**fields, "cache": cache}, None
    spec = (spec or TrainSpec()).with_fields(**fields)
    trainer = Trainer(model, domain, spec, seed, checkpoint, cache)
    return trainer.train(show_progress, on_evaluation, on_step)
