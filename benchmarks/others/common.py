"""What both sides of a comparison share. It needs torch alone, since other libraries' environments have no
transrec_core.
"""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WARM_UP, STEPS = 1, 3  # training steps before the clock runs, and timed
EVALUATIONS = 1  # timed rankings; an evaluation is long, and each pair brings another

#: Wall-clock and processor seconds; the second are less disturbed by whatever else runs on the machine.
Seconds = tuple[float, float]


def mean_pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Token states [k, T, H] and mask [k, T] -> their mean without padding [k, H]."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def median_seconds(once: Callable[[], object], times: int) -> Seconds:
    """Medians over some calls."""
    walls, processors = [], []
    for _ in range(times):
        wall, processor = time.perf_counter(), time.process_time()
        once()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return statistics.median(walls), statistics.median(processors)


def train(folder: Path, model: nn.Module, pooled: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Any]:
    """Times training steps: the squared distance of mean-pooled states to fixed vectors, with fused AdamW.

    Args:
        folder: with the batch.
        model: its ``requires_grad`` says what trains.
        pooled: features -> mean-pooled states [k, H].

    Returns:
        "times" of a step, and "check": how many parameters train and the losses.
    """
    features, goal = torch.load(folder / "batch.pt")
    trained = [p for p in model.train().parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    losses = []

    def step() -> None:
        loss = F.mse_loss(pooled(features), goal)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    median_seconds(step, WARM_UP)
    times = {"": median_seconds(step, STEPS)}
    return {
        "times": times,
        "check": {"trained parameters": sum(p.numel() for p in trained)}
        | {f"loss {i}": loss for i, loss in enumerate(losses)},
    }


def report(result: dict[str, Any], *packages: str) -> None:
    """Prints the result as the last line of the output, with the versions of some packages."""
    print(json.dumps(result | {"versions": {name: importlib.metadata.version(name) for name in packages}}))
