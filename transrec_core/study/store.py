"""Records on disk: one folder a run, named by its specification's content hash, written whole or not at all.

STORE/<id>/spec.yaml      the specification, ready for `transrec run` STORE/<id>/ranks.npy      rank of each
test case's target STORE/<id>/record.json    metrics, costs, versions, checksums; written last: a run is
recorded if and only if this is there STORE/<id>/failure.json   the error of a run that failed; gone once it
succeeds STORE/<id>/checkpoint.safetensors   while a run is under way STORE/*.jsonl             packed records
(see shelf.py), which can only be read STORE/sources, features   artefacts that runs share; STORE/locks: who
is at work
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
from transrec_core.study.record import DamagedRecord, Record, seal
from transrec_core.study.shelf import Packed, read_shelf
from transrec_core.study.specs import RunSpec, validated

#: What is kept of a run, in the order in which it is written.
FILES = ("spec.yaml", "ranks.npy", "failure.json", "record.json")


#: The safe loader in C where there is one: hundreds of records are read at once.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Store:
    """A folder of records."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def folder(self, run_id: str) -> Path:
        return self.root / run_id

    @cached_property
    def packed(self) -> dict[str, Packed]:
        """Packed records by id, their lines not looked at yet."""
        return read_shelf(self.root)

    def has(self, run_id: str) -> bool:
        return (self.folder(run_id) / "record.json").is_file() or run_id in self.packed

    def ids(self) -> list[str]:
        """Ids of all recorded runs."""
        return sorted({p.parent.name for p in self.root.glob("*/record.json")} | set(self.packed))

    def write(self, spec: RunSpec, facts: dict[str, Any], ranks: np.ndarray) -> Record:
        """Writes a record; record.json comes last and holds the checksums of the ranks and of itself with
        the specification.
        """
        buffer = io.BytesIO()
        ranks = ranks.astype(np.uint16 if ranks.max(initial=0) < 2**16 else np.int32)
        np.save(buffer, ranks, allow_pickle=False)
        facts = {**facts, "ranks_sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
        facts["sha256"] = seal(spec, facts)
        self.adopt(
            spec.id(),
            {
                "spec.yaml": yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False).encode(),
                "ranks.npy": buffer.getvalue(),
                "record.json": (json.dumps(facts, indent=2) + "\n").encode(),
            },
        )
        return Record(spec, facts, ranks)

    def files(self, run_id: str) -> dict[str, bytes]:
        """The files of a record, or of a failure, as they are, for a store on another machine."""
        return {
            name: (self.folder(run_id) / name).read_bytes()
            for name in FILES
            if (self.folder(run_id) / name).exists()
        }

    def adopt(self, run_id: str, files: dict[str, bytes]) -> None:
        """Writes a record, or a failure, from the contents of its files. An old record stays until all of
        the new one is on disk.
        """
        folder = self.folder(run_id)
        with ExitStack() as stack:  # is left in reverse order: record.json, entered first, is renamed last
            for name in reversed([name for name in FILES if name in files]):
                stack.enter_context(atomic_path(folder / name)).write_bytes(files[name])
            if "record.json" in files:
                (folder / "record.json").unlink(
                    missing_ok=True
                )  # while the other files are of two runs, it does not hold
        if "record.json" in files:
            for left in ("checkpoint.safetensors", "failure.json"):
                (folder / left).unlink(missing_ok=True)

    def read(self, run_id: str) -> Record:
        """Reads a record by its id or an unambiguous beginning of it.

        Raises:
            UserError: if there is none, or its files are damaged (then a :class:`DamagedRecord`).
        """
        found = (
            [run_id]
            if run_id and self.has(run_id)
            else [known for known in self.ids() if run_id and known.startswith(run_id)]
        )
        if len(found) != 1:
            many = (
                f"several runs begin with '{run_id}': {', '.join(found)}" if found else f"no run '{run_id}'"
            )
            raise UserError(f"{self.root}: {many}; `transrec runs` lists them")
        folder = self.folder(found[0])
        if not (folder / "record.json").is_file():
            packed = self.packed[found[0]]
            return Record(*packed.read())
        try:
            facts = json.loads((folder / "record.json").read_text(encoding="utf-8"))
            fields = yaml.load((folder / "spec.yaml").read_text(encoding="utf-8"), _LOADER)
            spec = validated(fields, str(folder / "spec.yaml"))
            data = (folder / "ranks.npy").read_bytes()
            if hashlib.sha256(data).hexdigest() != facts["ranks_sha256"]:
                raise ValueError("ranks.npy is not what was written (checksum)")
            ranks = np.load(io.BytesIO(data), allow_pickle=False)
            if facts.get("sha256", None if "code" in facts else seal(spec, facts)) != seal(
                spec, facts
            ):  # older records have neither
                raise ValueError("record.json or spec.yaml is not what was written (checksum)")
            wrong = [
                name for name, value in metrics(ranks).items() if abs(facts["metrics"][name] - value) > 1e-9
            ]
            if wrong:
                raise ValueError(f"{wrong[0]} is not what the ranks give")
            if spec.id() != folder.name:
                raise ValueError("spec.yaml is not of this run, or a default has changed since")
            return Record(spec, facts, ranks)
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, UserError) as error:
            raise DamagedRecord(folder, str(error).splitlines()[0]) from None

    def scan(self) -> tuple[list[Record], dict[str, str]]:
        """All sound records, oldest first, and what is wrong with the others by id."""
        records, damaged = [], {}
        for run_id in self.ids():
            try:
                records.append(self.read(run_id))
            except DamagedRecord as error:
                damaged[run_id] = error.reason
        return sorted(records, key=lambda r: (r.facts["finished"], r.id)), damaged

    def all(self) -> list[Record]:
        """All records, oldest first.

        Raises:
            UserError: if one is damaged.
        """
        return sorted((self.read(run_id) for run_id in self.ids()), key=lambda r: (r.facts["finished"], r.id))

    def write_failure(self, spec: RunSpec, facts: dict[str, Any]) -> None:
        """Records that a run failed, and why."""
        atomic_write(
            self.folder(spec.id()) / "spec.yaml",
            yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False),
        )
        atomic_write(self.folder(spec.id()) / "failure.json", json.dumps(facts, indent=2) + "\n")

    def failures(self) -> dict[str, dict[str, Any]]:
        """What is known of failed runs, by id; a run that has succeeded since is not among them."""
        found = {p.parent.name: p for p in self.root.glob("*/failure.json") if not self.has(p.parent.name)}
        return {
            run_id: json.loads(path.read_text(encoding="utf-8")) for run_id, path in sorted(found.items())
        }
