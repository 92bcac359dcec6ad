"""What is known of a finished run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.study.specs import RunSpec


@dataclass(frozen=True)
class Record:
    """What is known of a finished run. ``facts`` is the content of record.json; ``ranks`` of packed
    records stop at 21.
    """

    spec: RunSpec
    facts: dict[str, Any]
    ranks: np.ndarray

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    @property
    def metrics(self) -> dict[str, float]:
        return dict(self.facts["metrics"])

    def same_ranks(self, other: Record) -> bool:
        """Whether both runs ranked every test case alike, to the last one (by checksum, so also for packed
        records).
        """
        return bool(self.facts["ranks_sha256"] == other.facts["ranks_sha256"])


def seal(spec: RunSpec, facts: dict[str, Any]) -> str:
    """SHA-256 over a record's specification and facts (which hold that of its ranks): a number changed by
    hand no longer fits it.
    """
    content = {
        "spec": spec.model_dump(mode="json"),
        "facts": {k: v for k, v in facts.items() if k != "sha256"},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def ranks_by_seed(records: Iterable[Record]) -> np.ndarray:
    """Ranks of runs that differ in the seed only, [seeds, cases], by rising seed."""
    return np.stack([r.ranks for r in sorted(records, key=lambda r: r.spec.seed)])


class DamagedRecord(UserError):
    """A record that is not what was written. ``reason`` says in what."""

    def __init__(self, where: Path | str, reason: str) -> None:
        super().__init__(f"{where}: damaged record ({reason}); delete it, or run it again with --refresh")
        self.where, self.reason = where, reason

    def __reduce__(self) -> tuple[type[DamagedRecord], tuple[Path | str, str]]:
        return DamagedRecord, (self.where, self.reason)
