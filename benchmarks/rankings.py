"""Full ranking in blocks of users against one user at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import released
from benchmarks.pairs import Row, side_by_side
from benchmarks.subjects import bert
from transrec_core.data.interactions import Interactions
from transrec_core.evaluation.ranking import model_scorer, target_ranks
from transrec_core.models import TransRec
from transrec_core.training.costs import peak_bytes

MB = 2**20


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
            share = 100 * (1 - rows[-1].after / times[1])
            note += f"; the user encoder, the same work on both sides, is {share:.0f} % of what is left"
        rows.append(Row("ranking", what, "one user at a time", "s", *times, *spread, 7, 30, note))


def ranking(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Part 4: blocks of users against one user at a time at 20,000 items; seconds and memory up to a
    million items.
    """
    rng = np.random.default_rng(0)
    model = bert(64, 1).eval()
    sizes: dict[str, dict[str, float]] = {}
    for n_items, users in ((20_000, 2000), (100_000, 500), (1_000_000, 100)):
        offsets = np.concatenate([[0], np.cumsum(rng.integers(4, 21, users))]).astype(np.int64)
        histories = Interactions(rng.integers(1, n_items + 1, offsets[-1]).astype(np.int32), offsets, n_items)
        targets = rng.integers(1, n_items + 1, users).astype(np.int32)
        vectors = torch.randn(n_items + 1, 64, generator=torch.Generator().manual_seed(0))

        def blocks(vectors: Any = vectors, histories: Any = histories, targets: Any = targets) -> np.ndarray:
            return target_ranks(model_scorer(model, vectors, histories), histories, targets)

        if n_items == 20_000:
            against_the_loop(model, vectors, histories, targets, rows)
        began = time.perf_counter()
        blocks()
        sizes[str(n_items)] = {
            "seconds a user": (time.perf_counter() - began) / users,
            "peak MiB": peak_bytes(blocks) / MB,
            "vectors MiB": vectors.numel() * 4 / MB,
        }
    least, most = (sizes[n]["peak MiB"] for n in ("20000", "1000000"))
    kept = [f"{sizes[n]['vectors MiB']:.0f}" for n in ("20000", "1000000")]
    note = (
        f"besides the vectors themselves ({' and '.join(kept)} MiB); "
        f"{1000 * sizes['1000000']['seconds a user']:.1f} ms a user at a million items"
    )
    what = "memory of ranking a million items, 50 times as many as 20,000"
    rows.append(Row.once("ranking", what, "linear growth", "MiB", 50 * least, most, 10, note))
    return sizes
