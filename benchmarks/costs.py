"""What is saved, measured side by side in one run: `make bench` prints the table and `--out` keeps it for the
book.

Each row runs its two sides in turns, several pairs; what counts is the median of the pairs' ratios, with the
smallest and the largest. The first pair is not counted. Goals were set before anything was measured; one that
is missed says so. Titles are those of amazon_instruments if `--data-root` (make bench DATA=...) is given,
else random ones of the same lengths on average.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer

from benchmarks import data_scale, released
from transrec_core.adapters import AdapterConfig
from transrec_core.base.files import atomic_write
from transrec_core.data.batching import Batch, Batcher
from transrec_core.data.catalog import Parts, TextCatalog
from transrec_core.data.domain import Domain
from transrec_core.data.interactions import Interactions
from transrec_core.data.loading import DataSpec
from transrec_core.evaluation.ranking import model_scorer, target_ranks
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.study.executors import cores
from transrec_core.study.provenance import environment
from transrec_core.training.costs import Stepper, peak_bytes
from transrec_core.training.inputs import ItemInputs
from transrec_core.training.spec import TrainSpec
from transrec_core.world.encoders import encoder_path
from transrec_core.world.loading import load_domain

MB = 2**20
WORDS = 30522
THREADS = cores()


@dataclass
class Row:
    """One line of the table: what was compared, both sides in ``unit``, their ratio over the pairs, and
    the goal that was set.
    """

    part: str
    what: str
    baseline: str
    unit: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    pairs: int
    goal: float
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal


Times = list[tuple[float, float]]


def turns(before: Callable[[], object], after: Callable[[], object], pairs: int) -> Times:
    """Seconds of both in turns."""
    times = []
    for _ in range(pairs):
        began = time.perf_counter()
        before()
        middle = time.perf_counter()
        after()
        times.append((middle - began, time.perf_counter() - middle))
    return times


def summary(times: Times) -> tuple[float, float, float, float, float]:
    """Median seconds of each side, and the median, smallest and largest of the pairs' ratios."""
    ratios = sorted(a / b for a, b in times)
    slow, fast = (statistics.median(t) for t in zip(*times, strict=True))
    return slow, fast, statistics.median(ratios), ratios[0], ratios[-1]


def side_by_side(
    before: Callable[[], object], after: Callable[[], object], pairs: int
) -> tuple[float, float, float, float, float]:
    """Both in turns, the first turn not counted: see :func:`summary`."""
    before(), after()
    return summary(turns(before, after, pairs))


def bert(width: int, layers: int, seed: int = 0, attention: str = "sdpa", dim: int = 64) -> TransRec:
    """A TransRec around a BERT with random weights and no dropout, so that both sides of a pair compute
    the same.
    """
    backbone = fresh_backbone(
        {
            "model_type": "bert",
            "vocab_size": WORDS,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": width // 64 or 1,
            "intermediate_size": 4 * width,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        seed,
    )
    backbone.set_attn_implementation(attention)  # type: ignore[operator]
    return TransRec.from_backbone(backbone, ModelSpec(dim=dim, max_len=20, dropout=0.0, pooling="mean"), seed)


def instruments(data_root: Path | None) -> Domain:
    """amazon_instruments as the paper's settings would have it (users with 5 items, titles of 30 tokens),
    or something of its size.
    """
    if data_root is not None:
        tokenizer = AutoTokenizer.from_pretrained(encoder_path("minilm", "text"))
        return load_domain(DataSpec(folder="amazon_instruments", last=23), data_root, tokenizer)
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.normal(20, 8, 20_619).round(), 4, 30).astype(np.int32)
    tokens = np.where(
        np.arange(30) < lengths[:, None], rng.integers(1000, WORDS, (len(lengths), 30)), 0
    ).astype(np.int32)
    sizes = 5 + rng.geometric(1 / 3.4, 10_000)
    histories = Interactions(
        (20_618 * rng.random(sizes.sum()) ** 2).astype(np.int32) + 1,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        20_618,
    )
    return Domain("synthetic", TextCatalog(tokens, lengths), histories)


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
    titles, inputs = released.padded_titles(content), ItemInputs(new, content)
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
        found = summary([pair for trial in trials for pair in trial.times])
        shares = [
            operations / seconds / first.rate
            for operations, seconds in zip(first.operations, found[:2], strict=True)
        ]
        everywhere = 2 * 21 * 32 * released.TOKENS
        note = (
            f"{len(trials)} {'processes' if len(trials) > 1 else 'process'}; losses of the first step differ by {first.gap:.1e}; "
            f"{first.items} distinct items in {2 * 21 * 32:,} places, {first.tokens:,} tokens instead of {everywhere:,} "
            f"({everywhere / first.tokens:.1f}); matrix work at {100 * shares[0]:.0f} % of the processor's rate before, "
            f"{100 * shares[1]:.0f} % after"
        )
        rows.append(
            Row(
                "step",
                f"training step, {name}",
                "released procedure",
                "s",
                *found,
                sum(len(trial.times) for trial in trials),
                goal,
                note,
            )
        )
    rates.append(
        {
            "device": f"{THREADS} processor cores, fp32",
            "flops": normal[0].operations[1] / summary([p for t in normal for p in t.times])[1],
        }
    )
    return normal[0].parts


def small(domain: Domain, users: int = 2000) -> Domain:
    """The same with fewer users and the items that they had: enough for a few steps."""
    some = domain.interactions.select(np.arange(users))
    kept = np.unique(some.items)
    number = np.zeros(some.n_items + 1, dtype=np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    catalog: Any = domain.catalog
    rows = np.concatenate([[0], kept])
    return Domain(
        domain.name,
        TextCatalog(catalog.tokens[rows], catalog.lengths[rows]),
        Interactions(number[some.items], some.offsets, len(kept)),
    )


def stepper(
    domain: Domain, width: int, layers: int, adapter: dict[str, Any] | None = None, **options: Any
) -> Stepper:
    """Training steps of a fresh model, fully fine-tuned or with an adapter."""
    model = bert(width, layers)
    if adapter:
        model.add_adapter("a", AdapterConfig(**adapter))
        model.train_adapter("a")
    return Stepper(model, domain, TrainSpec(loss="batch", batch_size=32, **options))


def prefix(domain: Domain, rows: list[Row]) -> None:
    """Part 2: adapters in the top two of six layers, the four below computed once."""
    top = {"method": "houlsby", "layers": "top-2"}
    without, kept = (stepper(domain, 384, 6, top, cache=cache) for cache in ("off", "fp32"))
    gap = abs(float(without.step()) - float(kept.step()))
    found = side_by_side(without.step, kept.step, 7)
    # In units of a layer's forward pass. The way back is as dear as the way forth, and ends at the attention
    # of the lowest adapted layer, which is a third of it.
    back = 2 - 1 / 3
    note = (
        f"{kept.inputs.note}; losses of the first step differ by {gap:.1e}; by matrix work alone, 6 layers forth and {back:.1f} back against "
        f"2 and {back:.1f}, it could be {(6 + back) / (2 + back):.1f}"
    )
    rows.append(
        Row(
            "prefix", "step of adapters in the top 2 of 6 layers", "all layers run", "s", *found, 7, 2.5, note
        )
    )


def side(domain: Domain, whole: Domain, rows: list[Row]) -> dict[str, float]:
    """Part 3: an epoch of the side network on kept states against one of full fine-tuning, and the peak
    memory of their steps.
    """
    full = stepper(domain, 384, 6)
    began = time.perf_counter()
    beside = stepper(domain, 384, 6, {"method": "side"})
    building = (time.perf_counter() - began) * whole.catalog.n_items / domain.catalog.n_items
    epoch = Batcher(whole.split.train, "sasrec", "batch", 32, 20, 0).steps_per_epoch
    peaks = []
    full.step(), beside.step()
    times = [
        (epoch * one, epoch * ten / 10)
        for one, ten in turns(full.step, lambda: [beside.step() for _ in range(10)], 3)
    ]
    slow, fast, ratio, low, high = summary(times)
    note = (
        f"{epoch} steps an epoch, from the time of a step; keeping the states of {whole.catalog.n_items:,} titles takes {building:.0f} s once, "
        f"earned back after {building / (slow - fast):.2f} epochs"
    )
    rows.append(
        Row(
            "side",
            "epoch of a side network, 6 layers of width 384",
            "full fine-tuning",
            "s",
            slow,
            fast,
            ratio,
            low,
            high,
            3,
            20,
            note,
        )
    )
    for who in (full, beside):
        peaks.append((peak_bytes(who.step) + who.standing_bytes()) / MB)
    kept = beside.inputs.pooled
    assert kept is not None
    note = f"model and Adam included; the kept states, {kept.numel() * 4 / MB:.0f} MiB here, are read through a memory map"
    ratio = peaks[0] / peaks[1]
    rows.append(
        Row(
            "side",
            "peak memory of its step",
            "full fine-tuning",
            "MiB",
            *peaks,
            ratio,
            ratio,
            ratio,
            1,
            5,
            note,
        )
    )
    return {"building": building, "full": slow, "side": fast}


def memory(domain: Domain, rows: list[Row]) -> None:
    """Part 5: what a full fine-tuning step takes with recomputed activations and with its items in parts."""
    plain = stepper(domain, 384, 6)
    plain.step()
    top = peak_bytes(plain.step) / MB
    for name, options in (
        ("activations computed again", {"checkpointing": True}),
        ("items in 8 parts", {"accumulate": 8}),
    ):
        other = stepper(domain, 384, 6, **options)
        other.step()
        least = peak_bytes(other.step) / MB
        seconds = side_by_side(plain.step, other.step, 1)
        note = f"takes {1 / seconds[2]:.2f} times as long; parameters and Adam ({plain.standing_bytes() / MB:.0f} MiB) come on top of both"
        ratio = top / least
        rows.append(
            Row(
                "memory",
                f"memory of a full step, {name}",
                "plain step",
                "MiB",
                top,
                least,
                ratio,
                ratio,
                ratio,
                1,
                1,
                note,
            )
        )


def against_the_loop(
    model: TransRec, vectors: Tensor, histories: Interactions, targets: np.ndarray, rows: list[Row]
) -> None:
    """Ranks in blocks and one user at a time, from given user vectors and with the user encoder, which
    costs both sides the same.
    """
    users, few = len(targets), range(256)
    with torch.no_grad():
        states = torch.cat(
            [
                released.encode(model, vectors, histories, some)
                for some in np.array_split(np.arange(users), 20)
            ]
        )
    sides: dict[str, tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]] = {
        "full ranking among 20,000 items, user vectors given": (
            lambda: released.ranks(lambda some: states[some], vectors, histories, targets, few),
            lambda: target_ranks(lambda some: states[some] @ vectors.T, histories, targets),
        ),
        "the same with the user encoder": (
            lambda: released.ranks(
                lambda some: released.encode(model, vectors, histories, some),
                vectors,
                histories,
                targets,
                few,
            ),
            lambda: target_ranks(model_scorer(model, vectors, histories), histories, targets),
        ),
    }
    for what, (loop, blocks) in sides.items():
        # A target in its own history has no rank there: the released procedure masks it.
        fair = np.array([targets[user] not in histories.user(user) for user in few])
        same = float((blocks()[: len(few)][fair] == loop()[fair]).mean())
        slow, fast, *ratios = side_by_side(loop, blocks, 7)
        times = (slow * 1000 / len(few), fast * 1000 / users)
        spread = [r * users / len(few) for r in ratios]
        note = f"time of 1,000 users; {100 * same:.1f} % of the ranks are equal"
        if rows and rows[-1].part == "ranking":
            note += f"; the user encoder, the same work on both sides, is {100 * (1 - rows[-1].after / times[1]):.0f} % of what is left"
        rows.append(Row("ranking", what, "one user at a time", "s", *times, *spread, 7, 30, note))


def ranking(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Part 4: blocks of users against one user at a time at 20,000 items; seconds and memory up to a
    million items.
    """
    rng = np.random.default_rng(0)
    model = bert(64, 1).eval()
    found: dict[str, dict[str, float]] = {}
    for n_items, users in ((20_000, 2000), (100_000, 500), (1_000_000, 100)):
        offsets = np.concatenate([[0], np.cumsum(rng.integers(4, 21, users))]).astype(np.int64)
        histories = Interactions(rng.integers(1, n_items + 1, offsets[-1]).astype(np.int32), offsets, n_items)
        targets = rng.integers(1, n_items + 1, users).astype(np.int32)
        vectors = torch.randn(n_items + 1, 64, generator=torch.Generator().manual_seed(0))

        def blocks(vectors=vectors, histories=histories, targets=targets) -> np.ndarray:  # type: ignore[no-untyped-def]
            return target_ranks(model_scorer(model, vectors, histories), histories, targets)

        if n_items == 20_000:
            against_the_loop(model, vectors, histories, targets, rows)
        began = time.perf_counter()
        blocks()
        found[str(n_items)] = {
            "seconds a user": (time.perf_counter() - began) / users,
            "peak MiB": peak_bytes(blocks) / MB,
            "vectors MiB": vectors.numel() * 4 / MB,
        }
    least, most = found["20000"]["peak MiB"], found["1000000"]["peak MiB"]
    note = (
        f"besides the vectors themselves ({found['20000']['vectors MiB']:.0f} and {found['1000000']['vectors MiB']:.0f} MiB); "
        f"{1000 * found['1000000']['seconds a user']:.1f} ms a user at a million items"
    )
    rows.append(
        Row(
            "ranking",
            "memory of ranking a million items, 50 times as many as 20,000",
            "linear growth",
            "MiB",
            50 * least,
            most,
            50 * least / most,
            50 * least / most,
            50 * least / most,
            1,
            10,
            note,
        )
    )
    return found


def data(rows: list[Row], users: int, items: int) -> dict[str, float]:
    """Part 8: a dataset folder of a million users and a hundred thousand items."""
    facts = data_scale.measure(users, items)
    slowest = max(
        facts[f"{name}_s"] for name in ("sample", "subsample", "select", "leave_one_out", "restricted")
    )
    limits = (
        ("loading a dataset folder", 20.0, facts["load_s"], "s"),
        ("peak memory of loading it", 2e9 / MB, facts["load_peak_mb"], "MiB"),
        ("slowest subsample or split", 1.0, slowest, "s"),
    )
    for what, limit, value, unit in limits:
        note = f"{users:,} users, {items:,} items, {facts['interactions']:,.0f} interactions; one process, one thread"
        rows.append(
            Row(
                "data",
                what,
                "limit",
                unit,
                limit,
                value,
                limit / value,
                limit / value,
                limit / value,
                1,
                1,
                note,
            )
        )
    return facts


def show(rows: list[Row]) -> None:
    """Prints the table."""
    print(
        f"{'what':<72} {'baseline':>20} {'before':>10} {'after':>10}      {'ratio':>7} {'[least, most]':>16} {'goal':>6}"
    )
    for r in rows:
        spread = f"[{r.low:.1f}, {r.high:.1f}]" if r.pairs > 1 else ""
        print(
            f"{r.what:<72} {r.baseline:>20} {r.before:10.3f} {r.after:10.3f} {r.unit:<4} {r.ratio:7.1f} {spread:>16} {r.goal:6.1f}  "
            f"{'reached' if r.reached else 'MISSED'}\n    {r.note}",
            flush=True,
        )


def main() -> None:
    """Runs all parts, prints the table, and writes it with ``--out``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", type=Path, help="folder with amazon_instruments")
    parser.add_argument("--out", type=Path, help="JSON file for the book")
    parser.add_argument("--only", nargs="*", default=["step", "prefix", "side", "memory", "ranking", "data"])
    parser.add_argument("--users", type=int, default=1_000_000, help="of the large dataset folder")
    arguments = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    torch.set_num_threads(THREADS)
    began = time.perf_counter()
    whole = instruments(arguments.data_root)
    few = small(whole)
    rows: list[Row] = []
    rates: list[
        dict[str, Any]
    ] = []  # operations a second of a training step, for the arithmetic of larger sizes
    extra: dict[str, Any] = {}
    parts: dict[str, Callable[[], Any]] = {
        "step": lambda: steps(arguments.data_root, rows, rates),
        "prefix": lambda: prefix(few, rows),
        "side": lambda: side(few, whole, rows),
        "memory": lambda: memory(few, rows),
        "ranking": lambda: ranking(rows),
        "data": lambda: data(rows, arguments.users, arguments.users // 10),
    }
    for name in arguments.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        extra[name] = parts[name]()
    machine = environment()
    versions = machine["versions"]
    print(
        f"torch {versions['torch']}, transformers {versions['transformers']}, {machine['cpu']}, {machine['threads']} threads; titles: {whole.name}"
    )
    show(rows)
    seconds = time.perf_counter() - began
    print(f"{seconds:.0f} s. The GPU part is not in this table: python -m benchmarks.gpu")
    if arguments.out:
        facts = {
            "machine": machine | {"architecture": platform.machine()},
            "titles": whole.name,
            "seconds": seconds,
            "rates": rates,
            "rows": [asdict(r) | {"reached": r.reached} for r in rows],
            "extra": extra,
        }
        atomic_write(arguments.out, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
