"""A training step: the released procedure's, as re-created in ``released.py``, against ours."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import released
from benchmarks.pairs import Row, Times, summary, turns
from benchmarks.subjects import WORDS, bert, instruments
from transrec_core.data.batching import Batch, Batcher
from transrec_core.data.catalog import TextCatalog
from transrec_core.data.parts import Parts
from transrec_core.models import TransRec
from transrec_core.study.executors import cores
from transrec_core.training.inputs import ItemInputs, item_inputs

THREADS = cores()
PLACES = 2 * 21 * 32  # of items in a batch, negatives included


@dataclass
class Side:
    """One side of a comparison of steps: ``loss`` of a batch, by ``model``, whose parameters ``optimizer``
    moves.
    """

    model: TransRec
    optimizer: torch.optim.Optimizer
    batcher: Batcher
    loss: Callable[[Batch], Tensor]
    number: int = 0

    def step(self) -> Tensor:
        """One training step; returns its loss."""
        value = self.loss(self.batcher.batch(self.number))
        value.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.number += 1
        return value.detach()

    def by_part(self) -> dict[str, float]:
        """Seconds of one step by part."""
        inside, began = [0.0], time.perf_counter()

        def enter(module: Any, args: Any) -> None:
            inside[0] -= time.perf_counter()

        def leave(module: Any, args: Any, output: Any) -> None:
            inside[0] += time.perf_counter()

        hooks = [
            self.model.item_encoder.register_forward_pre_hook(enter),
            self.model.item_encoder.register_forward_hook(leave),
        ]
        batch = self.batcher.batch(self.number)
        drawn = time.perf_counter()
        value = self.loss(batch)
        forward = time.perf_counter()
        value.backward()  # type: ignore[no-untyped-call]
        backward = time.perf_counter()
        self.optimizer.step()
        self.optimizer.zero_grad()
        end = time.perf_counter()
        for hook in hooks:
            hook.remove()
        return {
            "drawing the batch": drawn - began,
            "item encoder, forward": inside[0],
            "user encoder and loss, forward": forward - drawn - inside[0],
            "backward": backward - forward,
            "optimiser": end - backward,
        }


def two_sides(content: TextCatalog, batcher: Batcher) -> tuple[Side, Side, ItemInputs]:
    """The released procedure's step and ours, from the same weights; and our way of reading titles."""
    old, new = bert(256, 4, attention="eager"), bert(256, 4)
    titles, inputs = released.padded_titles(content), item_inputs(new, content)
    one_by_one = torch.optim.Adam(old.parameters(), lr=1e-4, foreach=False)
    fused = torch.optim.AdamW(new.parameters(), lr=1e-4, fused=True)
    return (
        Side(old, one_by_one, batcher, lambda batch: released.loss(old, titles, batch, 20)),
        Side(new, fused, batcher, lambda batch: new(inputs(batch.items), batch)),
        inputs,
    )


class Trial(NamedTuple):
    """What one process measured of a training step: pairs of seconds, operations of both sides, and how
    far their losses were apart.
    """

    times: Times
    operations: tuple[int, int]
    rate: float
    gap: float
    items: int
    tokens: int
    parts: dict[str, dict[str, float]]


def step_trial(data_root: Path | None, full_length: bool, by_part: bool) -> Trial:
    """One trial on the domain's titles, or on the same filled up to full length."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(THREADS)
    domain = instruments(data_root)
    content: Any = domain.catalog
    if full_length:
        words = np.random.default_rng(0).integers(1000, WORDS, content.tokens.shape)
        filled = np.where(content.tokens > 0, content.tokens, words).astype(np.int32)
        content = TextCatalog(filled, np.full(len(filled), filled.shape[1], dtype=np.int32))
    left, right = torch.randn(2048, 256), torch.randn(256, 1024)
    rate = 2 * 2048 * 256 * 1024 / min(pair[0] for pair in turns(lambda: left @ right, lambda: None, 50))
    batcher = Batcher(domain.split.train, "sasrec", "bce", 32, 20, 0)
    before, after, inputs = two_sides(content, batcher)
    losses, counts = zip(
        *(counted(side.step) for side in (before, after)), strict=True
    )  # the first step is not timed
    times = turns(before.step, after.step, 2 if full_length else 1)  # the only process of its kind
    batch = batcher.batch(0)
    given = inputs(batch.items)
    tokens = sum(f["input_ids"].numel() for f in (given.features if isinstance(given, Parts) else [given]))
    parts = {"released procedure": before.by_part(), "here": after.by_part()} if by_part else {}
    return Trial(
        times, counts, rate, abs(float(losses[0]) - float(losses[1])), len(batch.items), tokens, parts
    )


def counted(function: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """What a function returns, and the operations of its matrix products, forward and backward, as PyTorch
    counts them.
    """
    with FlopCounterMode(display=False) as counter:
        value = function()
    return value, counter.get_total_flops()


def steps(
    data_root: Path | None, rows: list[Row], rates: list[dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Part 1: the released procedure's step against ours. Its time differs more from process to process
    than within one, so there are several.
    """
    jobs = [
        (data_root, False, True),
        (data_root, False, False),
        (data_root, False, False),
        (data_root, True, False),
    ]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        *normal, full = pool.map(step_trial, *zip(*jobs, strict=True))
    for name, trials, goal in (
        ("the domain's titles", normal, 10.0),
        ("titles that all have full length", [full], 3.0),
    ):
        first = trials[0]
        times = [pair for trial in trials for pair in trial.times]
        measured = summary(times)
        shares = [
            operations / seconds / first.rate
            for operations, seconds in zip(first.operations, measured[:2], strict=True)
        ]
        everywhere = PLACES * released.TOKENS
        note = (
            f"{len(trials)} {'processes' if len(trials) > 1 else 'process'}; losses of the first step differ "
            f"by {first.gap:.1e}; {first.items} distinct items in {PLACES:,} places, {first.tokens:,} tokens "
            f"instead of {everywhere:,} ({everywhere / first.tokens:.1f}); matrix work at "
            f"{100 * shares[0]:.0f} % of the processor's rate before, {100 * shares[1]:.0f} % after"
        )
        what = f"training step, {name}"
        rows.append(Row("step", what, "released procedure", "s", *measured, len(times), goal, note))
    rates.append(
        {
            "device": f"{THREADS} processor cores, fp32",
            "flops": normal[0].operations[1] / summary([p for t in normal for p in t.times])[1],
        }
    )
    return normal[0].parts
