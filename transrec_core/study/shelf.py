"""Packed records: one line of JSON a run, in at most sixteen text files, for shipping hundreds of records in
a few megabytes.

Ranks above 20 are kept as 21, which changes no HR@K or NDCG@K up to K = 20; the checksum of the full ranks
stays, so that a run that is repeated can be compared to the last rank. A specification is kept without the
fields that have their default, and its id tells if a default has changed since. Each line ends in the SHA-256
of its content.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.evaluation.metrics import CUTOFFS
from transrec_core.study.record import DamagedRecord, Record, UnusableRecord, understood
from transrec_core.study.specs import RunSpec

LAST = max(CUTOFFS) + 1


class Packed:
    """One line of a shelf.

    Args:
        where: its file and line.
        line: what stands there.
    """

    def __init__(self, where: str, line: dict[str, Any]) -> None:
        self.where, self.line = where, line

    def read(self) -> tuple[RunSpec, dict[str, Any], np.ndarray]:
        """Specification, facts and ranks.

        Raises:
            DamagedRecord: if the line is not what was written.
            OutdatedRecord: if it is, and its specification means something else by now.
        """
        line = self.line
        try:
            if digest(line) != line.get("sha256"):
                raise ValueError("the line is not what was written (checksum)")
            spec = understood(line["spec"], line["id"], self.where)
            ranks = np.frombuffer(lzma.decompress(base64.b85decode(line["ranks"])), dtype=np.uint8)
            return spec, {"id": line["id"], **line["facts"]}, ranks
        except UnusableRecord:
            raise
        except (ValueError, KeyError, lzma.LZMAError) as error:
            raise DamagedRecord(self.where, str(error).splitlines()[0]) from None


def digest(line: dict[str, Any]) -> str:
    """SHA-256 of a line without its checksum."""
    return hashlib.sha256(
        json.dumps({k: v for k, v in line.items() if k != "sha256"}, sort_keys=True).encode()
    ).hexdigest()


def pack(record: Record) -> dict[str, Any]:
    """The line of a record. Of its history the loss and NDCG@10 are kept."""
    facts = {k: v for k, v in record.facts.items() if k not in ("id", "sha256", "valid")}
    if "history" in facts:
        facts["history"] = [
            {k: round(h[k], 5) for k in ("step", "loss", "NDCG@10") if k in h} for h in facts["history"]
        ]
    ranks = np.minimum(record.ranks, LAST).astype(np.uint8)
    spec = record.spec.model_dump(mode="json", exclude_defaults=True)
    if record.spec.adapter is not None:  # whole: what is left out of it takes the method's defaults
        spec["adapter"] = record.spec.adapter.model_dump(mode="json")
    line = {
        "id": record.id,
        "spec": spec,
        "facts": facts,
        "ranks": base64.b85encode(lzma.compress(ranks.tobytes(), lzma.FORMAT_ALONE, preset=9)).decode(),
    }
    return {**line, "sha256": digest(line)}


def write_shelf(records: Iterable[Record], folder: Path) -> int:
    """Packs records, by the first digit of their ids; files of an earlier shelf are replaced.

    Args:
        records: what is packed.
        folder: where to.

    Returns:
        The bytes written.

    Raises:
        UserError: if the folder holds unpacked records.
    """
    if any(folder.glob("*/record.json")):
        raise UserError(
            f"{folder}: holds unpacked records, which would hide packed ones; name another folder"
        )
    lines: dict[str, list[str]] = {}
    for record in sorted(records, key=lambda r: r.id):
        lines.setdefault(record.id[0], []).append(json.dumps(pack(record)) + "\n")
    for old in folder.glob("?.jsonl"):
        if old.stem not in lines:
            old.unlink()
    for first, texts in lines.items():
        atomic_write(folder / f"{first}.jsonl", "".join(texts))
    return sum(len(text) for texts in lines.values() for text in texts)


def source_facts(store: Path) -> dict[str, Any]:
    """What is known of the source models that a store holds, or that its packed records came from.

    Args:
        store: its folder.

    Returns:
        "steps", "best step" and "validation HR@10" by id.
    """
    provenance = {
        p.parent.name: json.loads(p.read_text(encoding="utf-8"))["provenance"]
        for p in sorted(store.glob("sources/*/config.json"))
    }
    return _noted(store / "sources.json") | {
        name: {key: facts[key] for key in ("steps", "best step", "validation HR@10")}
        for name, facts in provenance.items()
    }


def encoder_builds(store: Path) -> dict[str, Any]:
    """What is known of the encoders that were built in a store, or that its packed records came from.

    Args:
        store: its folder.

    Returns:
        The content of build.json (recipe, items, checksum, seconds) by name.
    """
    builds = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(store.glob("encoders/*/build.json"))]
    return _noted(store / "encoders.json") | {facts.pop("encoder"): facts for facts in builds}


def _noted(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def read_shelf(folder: Path) -> dict[str, Packed]:
    """The packed records of a folder by id, their content not looked at yet.

    Args:
        folder: any folder; without packed records the answer is empty.

    Raises:
        UserError: if a line is not JSON; names file and line.
    """
    shelf = {}
    for path in sorted(folder.glob("*.jsonl")):
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                line = json.loads(text)
                shelf[str(line["id"])] = Packed(f"{path}, line {number}", line)
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{path}, line {number}: not a packed record; restore the file") from None
    return shelf
