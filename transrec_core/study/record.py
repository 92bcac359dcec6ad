"""What is known of a finished run, and what is said of a record that can't be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.data.domain import Domain
from transrec_core.study.specs import RunSpec, validated


@dataclass(frozen=True)
class Record:
    """What is known of a finished run.

    Attributes:
        spec: what was run.
        facts: the content of record.json.
        ranks: rank of each test case's target, 1 is best [cases]; those of packed records stop at 21.
    """

    spec: RunSpec
    facts: dict[str, Any]
    ranks: np.ndarray

    @property
    def id(self) -> str:
        """Content hash of the specification."""
        return str(self.facts["id"])

    @property
    def metrics(self) -> dict[str, float]:
        """Quality over all test cases by name, as shares of one."""
        return dict(self.facts["metrics"])

    def same_ranks(self, other: Record) -> bool:
        """Whether both runs ranked every test case alike, to the last one (by checksum, so also for packed
        records).
        """
        return bool(self.facts["ranks_sha256"] == other.facts["ranks_sha256"])


def seal(spec: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """SHA-256 over a record's specification and facts, which hold that of its ranks: a number changed by hand
    no longer fits it.

    Args:
        spec: the specification as plain data, as it is written: a field that the code has got since is not in
            it.
        facts: the content of record.json.
    """
    content = {"spec": dict(spec), "facts": {key: v for key, v in facts.items() if key != "sha256"}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def ranks_by_seed(records: Iterable[Record]) -> np.ndarray:
    """Ranks of runs that differ in the seed only, [seeds, cases], by rising seed."""
    return np.stack([r.ranks for r in sorted(records, key=lambda r: r.spec.seed)])


def cases_fingerprint(target: Domain) -> str:
    """16 hex digits for who is tested on what, whatever the items' content is turned into.

    Args:
        target: the domain that a run was tested on.
    """
    parts = [target.interactions, *([target.extra] if target.extra is not None else [])]
    return hashlib.sha256(" ".join(part.fingerprint() for part in parts).encode()).hexdigest()[:16]


def same_cases(a: Record, b: Record) -> str | None:
    """Whether two runs were tested on the same users and targets, which a paired comparison needs.

    Returns:
        None, or a reservation in words: older records hold one fingerprint of users, targets and encoded
        content, which differs between encoders.

    Raises:
        UserError: if they were not.
    """
    known = [record.facts.get("cases_fingerprint") for record in (a, b)]
    whole = [record.facts["data_fingerprint"].rpartition("-")[2] for record in (a, b)]
    if known[0] == known[1] is not None or whole[0] == whole[1]:
        return None
    encoded = {"max_tokens", "image_size", "share", "share_seed"}
    targets = [record.spec.target.model_dump(exclude=encoded) for record in (a, b)]
    if None in known and targets[0] == targets[1] and len(a.ranks) == len(b.ranks):
        return (
            f"an older record does not say on which users it was tested; both have the same folder, the same "
            f"filters and {len(a.ranks):,} test cases"
        )
    raise UserError(f"{a.id} and {b.id} were tested on different users or targets: they can't be compared")


class UnusableRecord(UserError):
    """A record that can't be used.

    Attributes:
        where: its folder, or its file and line.
        reason: what is wrong with it.
    """

    text = "{where}: {reason}"
    #: How lists of records call such a one.
    word = "unusable"

    def __init__(self, where: Path | str, reason: str) -> None:
        super().__init__(self.text.format(where=where, reason=reason))
        self.where, self.reason = where, reason

    def __reduce__(self) -> tuple[type[UnusableRecord], tuple[Path | str, str]]:
        return type(self), (self.where, self.reason)


class DamagedRecord(UnusableRecord):
    """A record that is not what was written."""

    text = "{where}: damaged record ({reason}); delete it, or run it again with --refresh"
    word = "damaged"


class OutdatedRecord(UnusableRecord):
    """A sound record whose specification means something else to this version of the code."""

    text = (
        "{where}: outdated record, sound but not readable here ({reason}); keep it: the version that wrote "
        "it reads it, and running its specification again makes a new one beside it"
    )
    word = "outdated"


def understood(fields: dict[str, Any], run_id: str, where: Path | str) -> RunSpec:
    """The specification of a sound record.

    Args:
        fields: the specification as it was written.
        run_id: the record's id.
        where: its place, for the message.

    Raises:
        OutdatedRecord: if the code no longer knows a field of it, or gives it another id.
    """
    try:
        spec = validated(fields, "its specification")
    except UserError as error:
        raise OutdatedRecord(where, f"written by another version of the code; {error}") from None
    if spec.id() != run_id:
        raise OutdatedRecord(where, "a default of the specification has changed since")
    return spec
