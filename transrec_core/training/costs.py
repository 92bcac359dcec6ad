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
from torch.profiler import ProfilerActivity, profile

from transrec_core.data.domain import Domain
from transrec_core.models.transrec import TransRec
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import Trainer


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
    trainers = {name: Trainer(model, domain, spec) for name, model in models.items()}
    peaks = {}
    for name, trainer in trainers.items():
        trainer.step()  # the first one allocates Adam's moments
        trainer.step()
        peaks[name] = peak_bytes(trainer.step)
    for _ in range(rounds):
        for name, trainer in trainers.items():
            began = time.perf_counter()
            for _ in range(steps):
                trainer.step()
            turns[name].append((time.perf_counter() - began) / steps)
    rows = []
    for name, model in models.items():
        low, middle, high = np.percentile(turns[name], [25, 50, 75])
        rows.append(
            {
                "method": name,
                "seconds": middle,
                "low": low,
                "high": high,
                "step": peaks[name] / 2**20,
                "memory": (peaks[name] + standing_bytes(model)) / 2**20,
            }
        )
    return pd.DataFrame(rows)


def peak_bytes(function: Callable[[], Any]) -> int:
    """The most memory that a call takes.

    Args:
        function: is called once.

    Returns:
        The most bytes of tensors that it has allocated at one time, on the processor (as its allocator
        reports them) or on a GPU.
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


def standing_bytes(model: TransRec) -> int:
    """Bytes that stay between steps: the parameters, and both moments of Adam of those that train.

    Args:
        model: with ``requires_grad`` set.
    """
    sizes = [(p.numel() * p.element_size(), p.requires_grad) for p in model.parameters()]
    return sum(size * (3 if trains else 1) for size, trains in sizes)
