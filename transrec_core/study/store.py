"""Records on disk: one folder a run, named by its specification's content hash, written whole or not at all.

STORE/<id>/spec.yaml               the specification, ready for `transrec run`
STORE/<id>/ranks.npy               rank of each test case's target
STORE/<id>/record.json             metrics, costs, versions, checksums; written last: a run is recorded
                                   if and only if this is there
STORE/<id>/failure.json            the error of a run that failed; gone once it succeeds
STORE/<id>/checkpoint.safetensors  while a run is under way
STORE/*.jsonl                      packed records (see shelf.py), which can only be read
STORE/<id>/model                   what `transrec run` trained, to recommend with (see kept.py)
STORE/sources, features, items     artefacts that runs share
STORE/locks                        runs under way
"""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_path, atomic_write
from transrec_core.evaluation.metrics import metrics
from transrec_core.study.record import DamagedRecord, Record, UnusableRecord, seal, understood
from transrec_core.study.shelf import Packed, read_shelf
from transrec_core.study.specs import RunSpec

#: What is kept of a run, in the order in which it is written.
FILES = ("spec.yaml", "ranks.npy", "failure.json", "record.json")


#: The safe loader in C where there is one: hundreds of records are read at once.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Store:
    """A folder of records.

    Args:
        root: the folder; it is made when the first record is written.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, run_id: str) -> Path:
        """Where a run's files are, or would be."""
        return self.root / run_id

    @cached_property
    def packed(self) -> dict[str, Packed]:
        """Packed records by id, their lines not looked at yet."""
        return read_shelf(self.root)

    def has(self, run_id: str) -> bool:
        """Whether a run is recorded, packed or not."""
        return (self.folder(run_id) / "record.json").is_file() or run_id in self.packed

    def ids(self) -> list[str]:
        """Ids of all recorded runs."""
        return sorted({p.parent.name for p in self.root.glob("*/record.json")} | set(self.packed))

    def write(self, spec: RunSpec, facts: dict[str, Any], ranks: np.ndarray) -> Record:
        """Writes a record; record.json comes last and holds the checksums of the ranks and of itself with
        the specification.

        Args:
            spec: what was run.
            facts: what is known of the run.
            ranks: rank of each test case's target [cases].
        """
        buffer = io.BytesIO()
        ranks = ranks.astype(np.uint16 if ranks.max(initial=0) < 2**16 else np.int32)
        np.save(buffer, ranks, allow_pickle=False)
        facts = {**facts, "ranks_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
        fields = spec.model_dump(mode="json")
        facts["sha256"] = seal(fields, facts)
        files = {
            "spec.yaml": yaml.safe_dump(fields, sort_keys=False).encode(),
            "ranks.npy": buffer.getvalue(),
            "record.json": (json.dumps(facts, indent=2) + "\n").encode(),
        }
        self.adopt(spec.id(), files)
        return Record(spec, facts, ranks)

    def files(self, run_id: str) -> dict[str, bytes]:
        """The files of a record, or of a failure, as they are, for a store on another machine."""
        return {
            name: (self.folder(run_id) / name).read_bytes()
            for name in FILES
            if (self.folder(run_id) / name).exists()
        }

    def adopt(self, run_id: str, files: dict[str, bytes]) -> None:
        """Writes a record, or a failure. An old record stays until all of the new one is on disk.

        Args:
            run_id: its id.
            files: contents by name, see :data:`FILES`.
        """
        folder = self.folder(run_id)
        with ExitStack() as stack:  # is left in reverse order: record.json, entered first, is renamed last
            for name in reversed([name for name in FILES if name in files]):
                stack.enter_context(atomic_path(folder / name)).write_bytes(files[name])
            if "record.json" in files:  # while the other files are of two runs, it does not hold
                (folder / "record.json").unlink(missing_ok=True)
        if "record.json" in files:
            for left in ("checkpoint.safetensors", "failure.json"):
                (folder / left).unlink(missing_ok=True)

    def read(self, run_id: str) -> Record:
        """Reads a record by its id or an unambiguous beginning of it.

        Raises:
            UserError: if there is none, or it can't be used (then an :class:`UnusableRecord`).
        """
        matches = (
            [run_id] if self.has(run_id) else [known for known in self.ids() if known.startswith(run_id)]
        )
        if not run_id or not matches:
            raise UserError(f"{self.root}: no run '{run_id}'; `transrec runs` lists them")
        if len(matches) > 1:
            raise UserError(f"{self.root}: several runs begin with '{run_id}': {', '.join(matches)}")
        folder = self.folder(matches[0])
        if not (folder / "record.json").is_file():
            return Record(*self.packed[matches[0]].read())
        try:
            return _read(folder)
        except UnusableRecord:
            raise
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise DamagedRecord(folder, str(error).splitlines()[0]) from None

    def survey(self) -> tuple[list[Record], dict[str, UnusableRecord]]:
        """All records that can be used, oldest first, and the others' errors by id."""
        records, unusable = [], {}
        for run_id in self.ids():
            try:
                records.append(self.read(run_id))
            except UnusableRecord as error:
                unusable[run_id] = error
        return sorted(records, key=_age), unusable

    def scan(self) -> tuple[list[Record], dict[str, str]]:
        """All records that can be used, oldest first, and what is wrong with the others by id."""
        records, unusable = self.survey()
        return records, {run_id: error.reason for run_id, error in unusable.items()}

    def all(self) -> list[Record]:
        """All records, oldest first.

        Raises:
            UnusableRecord: if one can't be used.
        """
        return sorted((self.read(run_id) for run_id in self.ids()), key=_age)

    def write_failure(self, spec: RunSpec, facts: dict[str, Any]) -> None:
        """Records that a run failed, and why.

        Args:
            spec: what was run.
            facts: its id, error and time.
        """
        folder, fields = self.folder(spec.id()), spec.model_dump(mode="json")
        atomic_write(folder / "spec.yaml", yaml.safe_dump(fields, sort_keys=False))
        atomic_write(folder / "failure.json", json.dumps(facts, indent=2) + "\n")

    def failures(self) -> dict[str, dict[str, Any]]:
        """What is known of failed runs, by id; a run that has succeeded since is not among them."""
        paths = sorted(self.root.glob("*/failure.json"))
        return {
            path.parent.name: json.loads(path.read_text(encoding="utf-8"))
            for path in paths
            if not self.has(path.parent.name)
        }


def _age(record: Record) -> tuple[str, str]:
    return str(record.facts["finished"]), record.id


def _read(folder: Path) -> Record:
    """A record from its folder, after all checks."""
    facts = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    fields = yaml.load((folder / "spec.yaml").read_text(encoding="utf-8"), _LOADER)
    data = (folder / "ranks.npy").read_bytes()
    if hashlib.sha256(data).hexdigest() != facts["ranks_sha256"]:
        raise ValueError("ranks.npy is not what was written (checksum)")
    sealed = facts.get("sha256") or "code" in facts  # the oldest records have neither
    if sealed and facts.get("sha256") != seal(fields, facts):
        raise ValueError("record.json or spec.yaml is not what was written (checksum)")
    ranks = np.load(io.BytesIO(data), allow_pickle=False)
    for name, value in metrics(ranks).items():
        if abs(facts["metrics"][name] - value) > 1e-9:
            raise ValueError(f"{name} is not what the ranks give")
    if facts["id"] != folder.name:
        raise ValueError(f"its files are of another run, {facts['id']}")
    return Record(understood(fields, folder.name, folder), facts, ranks)
