"""Scale on paper: what training, caching and serving would take at other sizes, by arithmetic from a few
rates. Estimates, not measurements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from transrec_core.models.backbones import fresh_backbone
from transrec_core.models.params import encoder_fields
from transrec_core.report.stepcosts import Storage
from transrec_core.study.record import Record


@dataclass(frozen=True)
class Plan:
    """The size of a training, and the rate of a device.

    Attributes:
        users: how many.
        items: how many.
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


class BackboneSize(NamedTuple):
    """An encoder's layers.

    Attributes:
        parameters: of the layers; the embedding table is left out, which is looked up and not multiplied.
        width: of its states.
        layers: how many.
    """

    parameters: int
    width: int
    layers: int


def backbone_size(encoder: str) -> BackboneSize:
    """The size of an encoder, by its usual name or from a folder with a config.json."""
    with torch.device("meta"):
        backbone = fresh_backbone(encoder_fields(encoder))
    table = sum(p.numel() for p in backbone.get_submodule("embeddings").parameters())
    config: Any = backbone.config
    size = sum(p.numel() for p in backbone.parameters()) - table
    return BackboneSize(size, int(config.hidden_size), int(config.num_hidden_layers))


def training_flops(parameters: int, tokens: float, backward: float = 2.0) -> float:
    """Operations to train on so many tokens: two for each parameter and token forward, and ``backward`` times
    that backward.

    With everything trained the backward pass costs two forward passes, with a fixed backbone that gradients
    have to pass through one, and with cached states nothing of the backbone is run.

    Args:
        parameters: that every token meets.
        tokens: how many.
        backward: cost of the backward pass in forward passes.
    """
    return 2.0 * parameters * tokens * (1.0 + backward)


@dataclass(frozen=True)
class Way:
    """What a way to train takes.

    Attributes:
        steps: of training.
        hours: of a single device.
        devices: that share them.
        cache: bytes of kept states.
    """

    steps: float
    hours: float
    devices: int
    cache: float


FULL, INSIDE = "full fine-tuning", "adapters inside"
SIDE, HEAD = "side network, all layers cached", "head only, last layer cached"


def estimate(plan: Plan, backbone: BackboneSize) -> dict[str, Way]:
    """What training everything, an adapter inside, and a head or side network on cached states take."""
    steps = plan.epochs * plan.users / plan.batch
    tokens = plan.users * plan.length * plan.tokens * plan.epochs
    once = training_flops(backbone.parameters, plan.items * plan.tokens, backward=0.0)  # each title once
    states = plan.items * backbone.width * 2.0  # bytes, half precision, pooled
    user_encoder = training_flops(plan.user_parameters, plan.users * plan.length * plan.epochs)
    ways = {
        FULL: (training_flops(backbone.parameters, tokens, 2.0), 0.0),
        INSIDE: (training_flops(backbone.parameters, tokens, 1.0), 0.0),
        SIDE: (once, states * (backbone.layers + 1)),
        HEAD: (once, states),
    }
    return {
        name: Way(steps, (operations + user_encoder) / plan.flops / 3600, plan.devices, cache)
        for name, (operations, cache) in ways.items()
    }


def ways_table(ways: Mapping[str, Way]) -> pd.DataFrame:
    """An estimate as a table, in round figures."""
    rows = [
        {
            "way": name,
            "steps": way.steps,
            "device hours": way.hours,
            "hours on all devices": way.hours / way.devices,
            "cache (GiB)": way.cache / 2**30,
        }
        for name, way in ways.items()
    ]
    return _rounded(pd.DataFrame(rows))


@dataclass(frozen=True)
class Rate:
    """What a device came to.

    Attributes:
        device: in words.
        flops: operations a second.
        source: how many runs that is the median of, or which file it comes from.
    """

    device: str
    flops: float
    source: int | str


def measured_rates(records: Iterable[Record], parameters: int, length: float, tokens: float) -> list[Rate]:
    """Rates that recorded runs of full fine-tuning came to: by device, the median over the records.

    Args:
        records: of the runs; those of other strategies are passed over.
        parameters: of the encoder's layers.
        length: mean length of a history, an upper bound.
        tokens: mean length of a title, an upper bound.
    """
    by_device: dict[str, list[float]] = {}
    for r in records:
        if r.spec.strategy == "full" and "seconds_per_step" in r.facts:
            device, training = r.facts.get("device", "cpu"), r.spec.training
            operations = training_flops(parameters, training.batch_size * length * tokens)
            key = f"{device}, {r.facts['threads']} thread(s), {training.precision}"
            by_device.setdefault(key, []).append(operations / r.facts["seconds_per_step"])
    return [Rate(key, float(np.median(values)), len(values)) for key, values in sorted(by_device.items())]


def benchmark_rates(folder: Path) -> list[Rate]:
    """Rates that benchmarks have left: entries {"device", "flops"} under "rates" in any JSON file of a
    folder.
    """
    rates = []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        for rate in content.get("rates", []) if isinstance(content, dict) else []:
            rates.append(Rate(rate["device"], float(rate["flops"]), path.name))
    return rates


def measured_table(rates: Iterable[Rate]) -> pd.DataFrame:
    """Rates of recorded runs as a table."""
    return pd.DataFrame(
        [{"device": r.device, "runs": r.source, "GFLOP/s, at most": f"{r.flops / 1e9:,.0f}"} for r in rates]
    )


def benchmark_table(rates: Iterable[Rate]) -> pd.DataFrame:
    """Rates of benchmarks as a table."""
    return pd.DataFrame(
        [{"device": r.device, "GFLOP/s": f"{r.flops / 1e9:,.0f}", "from": r.source} for r in rates]
    )


def serving_table(storage: Storage, domains: Iterable[float], items: int, dim: int) -> pd.DataFrame:
    """What has to be kept for several domains, the item vectors that serving reads included.

    Args:
        storage: of a model and of an adapter.
        domains: how many.
        items: of a domain's catalogue.
        dim: of an item vector, in half precision.
    """
    rows = [
        {
            "domains": n,
            "whole models (GiB)": storage.whole(n),
            "backbone and adapters (GiB)": storage.shared(n),
            "item vectors of ten million items each (GiB)": n * items * dim * 2 / 2**30,
        }
        for n in domains
    ]
    return _rounded(pd.DataFrame(rows))


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    # Two significant digits say enough.
    numbers = {column: frame[column].map(_short) for column in frame if frame[column].dtype.kind == "f"}
    return frame.assign(**numbers)


def _short(value: float) -> str:
    if value == 0:
        return "0"
    digits = 1 - int(np.floor(np.log10(abs(value))))
    return f"{round(value, digits):,.{max(0, digits)}f}"
