"""Records that were run again: whether they agree, kept in a file of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.evaluation.statistics import hits
from transrec_core.report.estimates import Estimate
from transrec_core.study.record import Record


def repeated(record: Record, again: Record) -> dict[str, Any]:
    """A record beside a repetition of it.

    Args:
        record: the old one.
        again: the new one, of the same specification.

    Returns:
        What :func:`add_repeat` keeps: HR@10 of both in percent ("recorded", "again"), the recorded one's
        95 % interval over users ("low", "high"), whether the new one lies in it ("agrees"), and whether every
        test case has the same rank ("equal ranks").
    """
    spread = Estimate.of(hits(record.ranks))
    now = again.metrics["HR@10"]
    return {
        "id": record.id,
        "method": record.spec.method,
        "seed": record.spec.seed,
        "target": record.spec.target.folder,
        "recorded": 100 * record.metrics["HR@10"],
        "low": 100 * spread.low,
        "high": 100 * spread.high,
        "again": 100 * now,
        "equal ranks": again.same_ranks(record),
        "agrees": now in spread,
        "code": again.facts["code"],
        "cpu": again.facts["cpu"],
    }


def read_repeats(path: Path) -> list[dict[str, Any]]:
    """What :func:`add_repeat` wrote; nothing if the file does not exist.

    Raises:
        UserError: if the file is something else.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        if not isinstance(entries, list) or not all(isinstance(e, dict) and "id" in e for e in entries):
            raise ValueError
        return entries
    except (OSError, ValueError):
        raise UserError(f"{path}: not a file of repeated records; name another") from None


def add_repeat(path: Path, entry: Mapping[str, Any]) -> None:
    """Adds what :func:`repeated` gave to a JSON file, in place of an older repetition of the same record."""
    others = [other for other in read_repeats(path) if other["id"] != entry["id"]]
    atomic_write(path, json.dumps([*others, dict(entry)], indent=1) + "\n")
