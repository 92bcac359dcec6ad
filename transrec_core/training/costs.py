"""What a training step costs, method beside method in one process: time in turns, and the most memory that
it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from transrec_core.data.batching import Batcher
from transrec_core.data.catalog import Parts
from transrec_core.data.domain import Domain
from transrec_core.models.transrec import TransRec
from transrec_core.training.inputs import ItemInputs
from transrec_core.training.memory import backward_in_parts, recompute_activations
from transrec_core.training.spec import TrainSpec


def measure(
    models: Mapping[str, TransRec], domain: Domain, spec: TrainSpec, rounds: int = 5, steps: int = 3
) -> pd.DataFrame:
    """Times training steps of several models in turns, so that what disturbs one disturbs all, and measures
    the most memory a step takes.

    Args:
        models: by name, each with ``requires_grad`` set; they are trained a little.
        domain: of the batches.
        spec: batch size, loss, and the options that trade time for memory.
        rounds: how often each has its turn.
        steps: steps in a turn.

    Returns:
        One row a model: "seconds" (median of a step over the turns), "low" and "high" (its quartiles),
        "memory" (MiB at the step's peak: parameters, both moments of Adam, and all that the step itself
        allocates), "step" (the last of these).
    """
    turns: dict[str, list[float]] = {name: [] for name in models}
    steppers = {name: Stepper(model, domain, spec) for name, model in models.items()}
    peaks = {}
    for name, stepper in steppers.items():
        stepper.step()  # the first one allocates Adam's moments
        stepper.step()
        peaks[name] = peak_bytes(stepper.step)
    for _ in range(rounds):
        for name, stepper in steppers.items():
            began = time.perf_counter()
            for _ in range(steps):
                stepper.step()
            turns[name].append((time.perf_counter() - began) / steps)
    rows = []
    for name, stepper in steppers.items():
        low, middle, high = np.percentile(turns[name], [25, 50, 75])
        rows.append(
            {
                "method": name,
                "seconds": middle,
                "low": low,
                "high": high,
                "step": peaks[name] / 2**20,
                "memory": (peaks[name] + stepper.standing_bytes()) / 2**20,
            }
        )
    return pd.DataFrame(rows)


def peak_bytes(function: Callable[[], Any]) -> int:
    """The most bytes of tensors that a function has allocated at one time, on the processor (as its
    allocator reports them) or on a GPU.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        function()
    results: Any = record.profiler.kineto_results  # type: ignore[union-attr]
    changes = [event for event in results.events() if event.name() == "[memory]"]
    held = np.cumsum([0, *(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns()))])
    return int(held.max())


class Stepper:
    """Training steps of a model, one at each call of :meth:`step`, as
    :func:`transrec_core.training.trainer.fit` takes them.
    """

    def __init__(self, model: TransRec, domain: Domain, spec: TrainSpec) -> None:
        self.model, self.spec = model.train(), spec
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, fused=True)
        self.inputs = ItemInputs(model, domain.catalog, None, spec.cache, spec.cache_gb)
        self.batcher = Batcher(
            domain.split.train, model.spec.objective, spec.loss, spec.batch_size, model.spec.max_len, 0
        )
        self.device = next(model.parameters()).device
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=spec.precision == "bf16")
        self.number = 0
        recompute_activations(model, spec.checkpointing)

    def step(self) -> Tensor:
        """One step; returns its loss."""
        batch = self.batcher.batch(self.number)
        features, batch = self.inputs(batch.items, self.spec.accumulate), batch.to(self.device)
        loss: Tensor
        if isinstance(features, Parts) and self.spec.accumulate > 1:
            loss = backward_in_parts(self.model, features, batch, self.autocast)
        else:
            with self.autocast:
                loss = self.model(features, batch)
            loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.trained, self.spec.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.number += 1
        return loss.detach()

    def standing_bytes(self) -> int:
        """Bytes of the parameters and of both moments of Adam, which stay between steps."""
        size = sum(p.numel() * p.element_size() for p in self.model.parameters())
        return size + 2 * sum(p.numel() * p.element_size() for p in self.trained)
