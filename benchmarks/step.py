"""What the library's way of training and ranking saves, measured side by side in one run. `make bench` calls this.

    step     every item of every sequence encoded where it stands        against each item of the batch once
    titles   titles padded to 30 tokens                                  against trimmed to the longest of the batch
    head     backbone run in every step, although frozen                 against its states computed once
    ranking  one user at a time                                          against blocks of users
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from transrec_core.data.batching import Batcher
from transrec_core.data.synthetic import WorldConfig, make_world
from transrec_core.evaluation import evaluate, model_scorer, target_ranks, test_cases
from transrec_core.models import ModelSpec, TransRec, load_backbone
from transrec_core.stages import encoder_path

PAIRS = 7


def pairs(name: str, before: Callable[[], object], after: Callable[[], object]) -> None:
    """Times both in turns and prints the medians, the ratio and its spread over the pairs."""
    before(), after()
    times = []
    for _ in range(PAIRS):
        began = time.perf_counter()
        before()
        middle = time.perf_counter()
        after()
        times.append((middle - began, time.perf_counter() - middle))
    ratios = sorted(a / b for a, b in times)
    slow, fast = (1000 * statistics.median(t) for t in zip(*times, strict=True))
    print(f"{name:<8} {slow:9.1f} ms -> {fast:8.1f} ms   ratio {statistics.median(ratios):5.1f} [{ratios[0]:.1f}, {ratios[-1]:.1f}]", flush=True)


def main() -> None:
    """Prints one line a comparison."""
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, {PAIRS} pairs: medians, ratio [smallest, largest]")
    world = make_world(WorldConfig(), "text")
    target, catalog = world.target, world.target.catalog
    model = TransRec.from_backbone(load_backbone(encoder_path("world", "text")), ModelSpec(dim=32, max_len=14, pooling="mean", dropout=0.0), 0)
    batch = Batcher(target.split.train, "sasrec", "batch", 64, 14, 0).batch(0)

    def step(loss: torch.Tensor) -> None:
        loss.backward()
        model.zero_grad()

    def once() -> None:
        step(model(catalog.batch(batch.items), batch))

    def everywhere() -> None:
        places = batch.items[batch.inputs]
        vectors = model.encode_items(catalog.batch(places.ravel())).unflatten(0, places.shape)
        states = model.encode_users(vectors)[batch.rows, batch.columns]
        positives = model.encode_items(catalog.batch(batch.items[batch.targets]))
        negatives = model.encode_items(catalog.batch(1 + torch.randint(catalog.n_items, batch.targets.shape)))
        step(F.softplus(-(states * positives).sum(-1)).mean() + F.softplus((states * negatives).sum(-1)).mean())

    def padded() -> None:
        features = {k: F.pad(v, (0, 30 - v.shape[1])) for k, v in catalog.batch(batch.items).items()}
        features["position_ids"] = torch.arange(30).clamp(max=15).expand(len(batch.items), -1)
        step(model(features, batch))

    pairs("step", everywhere, once)
    pairs("titles", padded, once)

    model.requires_grad_(False)
    model.item_encoder.projection.requires_grad_(True)  # type: ignore[union-attr]
    pooled = model.pooled_catalogue(catalog)
    pairs("head", once, lambda: step(model({"pooled": pooled[batch.items]}, batch)))

    vectors = model.catalogue(catalog)
    histories, targets = test_cases(target, "test")
    scorer = model_scorer(model.eval(), vectors, histories)

    def one_by_one() -> None:
        for user in range(200):
            target_ranks(lambda users, user=user: scorer(np.array([user])), histories.select(np.array([user])), targets[user : user + 1])

    few = histories.select(np.arange(200))
    pairs("ranking", one_by_one, lambda: target_ranks(model_scorer(model, vectors, few), few, targets[:200]))
    print(f"all {len(target.interactions) + len(target.extra or []):,} test users: ", end="")
    began = time.perf_counter()
    evaluate(model, target, "all", vectors)
    print(f"{time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
