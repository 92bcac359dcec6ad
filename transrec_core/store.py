"""Records on disk: one folder a run, named by its specification's content hash, written whole or not at all.

STORE/<id>/spec.yaml      the specification, ready for `transrec run`
STORE/<id>/ranks.npy      rank of each test case's target, int32
STORE/<id>/record.json    metrics, costs, versions; written last: a run is recorded if and only if this is there
STORE/<id>/checkpoint.safetensors   while a run is under way
STORE/sources/<id>/       source models
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from transrec_core.errors import UserError
from transrec_core.files import atomic_write
from transrec_core.specs import RunSpec, validated


@dataclass(frozen=True)
class Record:
    """What is known of a finished run. ``facts`` is the content of record.json."""

    spec: RunSpec
    facts: dict[str, Any]
    ranks: np.ndarray

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    @property
    def metrics(self) -> dict[str, float]:
        return dict(self.facts["metrics"])


def seal(spec: RunSpec, facts: dict[str, Any]) -> str:
    """SHA-256 over a record's specification and facts (which hold that of its ranks): a number changed by hand no longer fits it."""
    content = {"spec": spec.model_dump(mode="json"), "facts": {k: v for k, v in facts.items() if k != "sha256"}}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Store:
    """A folder of records."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, run_id: str) -> Path:
        return self.root / run_id

    def has(self, run_id: str) -> bool:
        return (self.folder(run_id) / "record.json").is_file()

    def write(self, spec: RunSpec, facts: dict[str, Any], ranks: np.ndarray) -> Record:
        """Writes a record; record.json comes last and holds the checksums of the ranks and of itself with the specification."""
        folder = self.folder(spec.id())
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        ranks = ranks.astype(np.uint16 if ranks.max(initial=0) < 2**16 else np.int32)
        np.save(buffer, ranks, allow_pickle=False)
        facts = {**facts, "ranks_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
        facts["sha256"] = seal(spec, facts)
        atomic_write(folder / "spec.yaml", yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False))
        atomic_write(folder / "ranks.npy", buffer.getvalue())
        atomic_write(folder / "record.json", json.dumps(facts, indent=2) + "\n")
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
        return Record(spec, facts, ranks)

    def read(self, run_id: str) -> Record:
        """Reads a record by its id or an unambiguous beginning of it.

        Raises:
            UserError: if there is none, or its files are damaged.
        """
        found = sorted(p.parent.name for p in self.root.glob(f"{run_id}*/record.json")) if run_id else []
        if len(found) != 1:
            many = f"several runs begin with '{run_id}': {', '.join(found)}" if found else f"no run '{run_id}'"
            raise UserError(f"{self.root}: {many}; `transrec runs` lists them")
        folder = self.folder(found[0])
        try:
            facts = json.loads((folder / "record.json").read_text(encoding="utf-8"))
            spec = validated(yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8")), str(folder / "spec.yaml"))
            data = (folder / "ranks.npy").read_bytes()
            if hashlib.sha256(data).hexdigest() != facts["ranks_sha256"]:
                raise ValueError("ranks.npy is not what was written (checksum)")
            return Record(spec, facts, np.load(io.BytesIO(data), allow_pickle=False))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder}: damaged record ({str(error).splitlines()[0]}); delete the folder and run it again") from None

    def all(self) -> list[Record]:
        """All records, oldest first."""
        records = [self.read(p.parent.name) for p in self.root.glob("*/record.json")]
        return sorted(records, key=lambda r: (r.facts["finished"], r.id))
