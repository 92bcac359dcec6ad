"""What a training step costs, method beside method in one process: time in turns, and memory that autograd keeps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from transrec_core.data.batching import Batcher
from transrec_core.data.domain import Domain
from transrec_core.features import ItemInputs
from transrec_core.models import TransRec
from transrec_core.training import TrainSpec


def measure(models: Mapping[str, TransRec], domain: Domain, spec: TrainSpec, rounds: int = 5, steps: int = 3) -> pd.DataFrame:
    """Times training steps of several models in turns, so that what disturbs one disturbs all, and counts what they keep in memory.

    Args:
        models: by name, each with ``requires_grad`` set; they are trained a little. domain: of the batches. spec: batch size and loss.
        rounds: how often each has its turn. steps: steps in a turn.

    Returns:
        One row a model: "seconds" (median of a step over the turns), "low" and "high" (its quartiles), "memory" (MiB that a step keeps: tensors
        saved for the backward pass, gradients, and both moments of Adam), "saved" (the first of these).
    """
    turns: dict[str, list[float]] = {name: [] for name in models}
    kept = {}
    steppers = {name: _Stepper(model, domain, spec) for name, model in models.items()}
    for name, stepper in steppers.items():
        kept[name] = stepper.saved_bytes()
        stepper.step()  # the first one allocates
    for _ in range(rounds):
        for name, stepper in steppers.items():
            began = time.perf_counter()
            for _ in range(steps):
                stepper.step()
            turns[name].append((time.perf_counter() - began) / steps)
    rows = []
    for name, stepper in steppers.items():
        low, middle, high = np.percentile(turns[name], [25, 50, 75])
        parameters = sum(p.numel() * p.element_size() for p in stepper.trained)
        rows.append({
            "method": name, "seconds": middle, "low": low, "high": high, "saved": kept[name] / 2**20,
            "memory": (kept[name] + 3 * parameters) / 2**20,
        })  # fmt: skip
    return pd.DataFrame(rows)


class _Stepper:
    def __init__(self, model: TransRec, domain: Domain, spec: TrainSpec) -> None:
        self.model = model.train()
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, fused=True)
        self.features = ItemInputs(model, domain.catalog)
        self.batcher = Batcher(domain.split.train, model.spec.objective, spec.loss, spec.batch_size, model.spec.max_len, 0)
        self.number = 0

    def loss(self) -> Tensor:
        batch = self.batcher.batch(self.number)
        loss: Tensor = self.model(self.features(batch.items), batch)
        return loss

    def step(self) -> None:
        self.loss().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.number += 1

    def saved_bytes(self) -> int:
        """Bytes of the distinct tensors that a forward pass saves for its backward pass, parameters and input data left out."""
        own = {p.untyped_storage().data_ptr() for p in self.model.parameters()}
        seen: dict[int, int] = {}

        def pack(tensor: Tensor) -> Any:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = self.loss()  # held until the bytes are counted: a freed address could be seen twice
        del loss
        return sum(seen.values())
