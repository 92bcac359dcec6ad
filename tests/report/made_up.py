"""Made-up records for the tests of reporting: nobody's results, of the right shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.evaluation.cold import packed_bits
from transrec_core.evaluation.metrics import metrics
from transrec_core.report.comparisons import Runs
from transrec_core.study.grids import question_specs
from transrec_core.study.profile import Cell, Profile, Variant
from transrec_core.study.provenance import environment
from transrec_core.study.record import Record
from transrec_core.study.specs import TRAINED, RunSpec
from transrec_core.study.store import Store

#: HR@10 of made-up records in a store; 0.1 for what is not named.
LEVEL = {"full": 0.30, "houlsby": 0.30, "scratch": 0.2, "head": 0.1, "frozen": 0.02, "item_id": 0.15}

CELL = Cell(modality="text", methods=("full", "houlsby"))


def spec_of(method: str, seed: int = 1) -> RunSpec:
    """The specification of a method."""
    if method in METHODS:
        return RunSpec(strategy="adapter", adapter=AdapterConfig(method=method), seed=seed)
    return RunSpec(strategy=method, seed=seed)


def drawn(method: str, share: float, seed: int, users: int = 4000) -> Record:
    """A record whose HR@10 is about ``share``; users are the same coin tosses for all methods."""
    luck = np.random.default_rng(7).random(users)
    own = np.random.default_rng(seed + 100 * sorted((*METHODS, "full")).index(method))
    hit = luck + 0.01 * own.normal(size=users) < share
    return Record(spec_of(method, seed), {"id": f"{method}{seed}"}, np.where(hit, 1, 50))


def exact(method: str, hits: np.ndarray, seeds: int = 3, **facts: Any) -> list[Record]:
    """Records of several seeds that hit exactly the users of a mask."""
    ranks = np.where(hits, 3, 50).astype(np.int32)
    known = {"metrics": metrics(ranks), "cases": len(ranks), **facts}
    return [Record(spec_of(method, s), {"id": f"{method}{s}", **known}, ranks) for s in range(1, seeds + 1)]


def band(first: int, width: int, users: int = 2000) -> np.ndarray:
    """A mask that holds ``width`` of each hundred users, from the one numbered ``first``."""
    place = np.arange(users) % 100 - first
    return (place >= 0) & (place < width)


def runs_of(**records: list[Record]) -> Runs:
    """Runs of a cell by method."""
    return {Variant(method): runs for method, runs in records.items()}


def fill(store: Store, profile: Profile, question: str, seeds: set[int], users: int = 3000) -> None:
    """Writes records of made-up ranks for a question's runs with these seeds; every tenth target is cold."""
    cold = np.arange(users) % 10 == 0
    specs = [spec for *_, spec in question_specs(profile, profile.question(question), {}).values()]
    for spec in (s for s in specs if s.seed in seeds):
        own = np.random.default_rng(spec.seed).standard_normal(users)
        hit = np.random.default_rng(0).random(users) + 0.001 * own < LEVEL.get(spec.method, 0.1)
        hit &= ~(cold & (spec.strategy == "item_id"))
        ranks = np.where(hit, 3, 50).astype(np.int32)
        facts = {
            "id": spec.id(),
            "method": spec.method,
            "data_fingerprint": "a-b",
            "metrics": metrics(ranks),
            "cases": users,
            "seconds": 9.0,
            "cold": packed_bits(cold),
            "cold_cases": int(cold.sum()),
            "device": "cpu",
        }
        if spec.strategy in TRAINED:
            facts |= {
                "trainable_parameters": 10,
                "total_parameters": 20,
                "train_seconds": 9.0,
                "seconds_per_step": 0.5,
                "peak_memory_mb": 100.0,
                "best_step": 0,
                "steps": 300,
            }
        store.write(spec, facts | environment(spec), ranks)
