"""Scale on paper: what training, caching and serving would take at other sizes, by arithmetic from a few
rates. Estimates, not measurements.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from transrec_core.models.backbones import fresh_backbone
from transrec_core.models.params import encoder_fields
from transrec_core.study.record import Record


@dataclass(frozen=True)
class Plan:
    """The size of a training, and the rate of a device.

    Attributes:
        users, items: how many there are.
        length: interactions of a user that are read.
        tokens: of a title.
        batch: users a step.
        epochs: passes over the users.
        flops: floating point operations that one device does in a second of such training.
        devices: how many.
        user_parameters: of the user encoder, which always trains (two blocks of width 64).
    """

    users: int
    items: int
    length: float = 20.0
    tokens: float = 20.0
    batch: int = 1024
    epochs: float = 5.0
    flops: float = 1e14
    devices: int = 1
    user_parameters: int = 2 * 12 * 64**2


def backbone_size(encoder: str) -> tuple[int, int, int]:
    """Parameters of an encoder's layers (the embedding table left out, which is looked up and not
    multiplied), its width, its layers.
    """
    with torch.device("meta"):
        backbone = fresh_backbone(encoder_fields(encoder))
    table = sum(p.numel() for p in backbone.get_submodule("embeddings").parameters())
    config: Any = backbone.config
    size = sum(p.numel() for p in backbone.parameters()) - table
    return size, int(config.hidden_size), int(config.num_hidden_layers)


def training_flops(parameters: int, tokens: float, backward: float = 2.0) -> float:
    """Operations to train on so many tokens: two for each parameter and token forward, and ``backward`` times
    that backward.

    With everything trained the backward pass costs two forward passes, with a fixed backbone that gradients
    have to pass through one, and with cached states nothing of the backbone is run.
    """
    return 2.0 * parameters * tokens * (1.0 + backward)


def estimate(plan: Plan, parameters: int, width: int, layers: int) -> pd.DataFrame:
    """Steps, device hours and storage of three ways to train: everything, an adapter inside, and a head or
    side network on cached states.

    Returns:
        One row a way: "way", "steps", "device hours", "hours on all devices", "cache (GiB)".
    """
    steps = plan.epochs * plan.users / plan.batch
    tokens = plan.users * plan.length * plan.tokens * plan.epochs
    once = training_flops(parameters, plan.items * plan.tokens, backward=0.0)  # each title once
    states = plan.items * width * 2  # bytes, half precision, pooled
    rest = training_flops(plan.user_parameters, plan.users * plan.length * plan.epochs)
    ways = {
        "full fine-tuning": (training_flops(parameters, tokens, 2.0), 0.0),
        "adapters inside": (training_flops(parameters, tokens, 1.0), 0.0),
        "side network, all layers cached": (once, states * (layers + 1)),
        "head only, last layer cached": (once, states),
    }
    return pd.DataFrame(
        [
            {
                "way": way,
                "steps": steps,
                "device hours": (operations + rest) / plan.flops / 3600,
                "hours on all devices": (operations + rest) / plan.flops / 3600 / plan.devices,
                "cache (GiB)": stored / 2**30,
            }
            for way, (operations, stored) in ways.items()
        ]
    )


def measured_rates(records: Sequence[Record], parameters: int, length: float, tokens: float) -> pd.DataFrame:
    """Operations a second that recorded runs of full fine-tuning came to, by device: median over the records
    with their number.

    Args:
        parameters: of the encoder's layers.
        length, tokens: mean length of a history and of a title, upper bounds.
    """
    rows = [
        {
            "device": f"{r.facts.get('device', 'cpu')}, {r.facts['threads']} thread(s), {r.spec.training.precision}",
            "flops": training_flops(parameters, r.spec.training.batch_size * length * tokens)
            / r.facts["seconds_per_step"],
        }
        for r in records
        if r.spec.strategy == "full" and "seconds_per_step" in r.facts
    ]
    if not rows:
        return pd.DataFrame(columns=["device", "runs", "flops"])
    return (
        pd.DataFrame(rows)
        .groupby("device", as_index=False)
        .agg(runs=("flops", "size"), flops=("flops", "median"))
    )


def benchmark_rates(folder: Path) -> pd.DataFrame:
    """Rates that benchmarks have left: entries {"device", "flops"} under "rates" in any JSON file of a
    folder.
    """
    rows = []
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rates = found.get("rates", []) if isinstance(found, dict) else []
        rows += [
            {"device": rate["device"], "flops": float(rate["flops"]), "from": path.name} for rate in rates
        ]
    return pd.DataFrame(rows, columns=["device", "flops", "from"])


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """An estimate in round figures: two significant digits say enough."""

    def short(value: float) -> str:
        if value == 0:
            return "0"
        digits = max(0, 1 - int(np.floor(np.log10(abs(value)))))
        return f"{round(value, 1 - int(np.floor(np.log10(abs(value))))):,.{digits}f}"

    return frame.assign(
        **{column: frame[column].map(short) for column in frame.columns if frame[column].dtype.kind == "f"}
    )
