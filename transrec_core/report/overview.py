"""Every run behind the book as one table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from transrec_core.report.names import method_name
from transrec_core.study.grids import load_profile, question_specs
from transrec_core.study.profile import Variant
from transrec_core.study.provenance import code_version
from transrec_core.study.record import Record
from transrec_core.study.store import Store


def _places() -> dict[str, list[tuple[str, Variant]]]:
    # Where runs of the shipped profiles belong: {id: [(question, variant)]}.
    places: dict[str, list[tuple[str, Variant]]] = defaultdict(list)
    for name in ("study", "real", "laptop", "smoke"):
        profile = load_profile(name)
        for question in profile.questions:
            for run_id, (_, variant, _) in question_specs(profile, profile.question(question), {}).items():
                if all(question != known for known, _ in places[run_id]):
                    places[run_id].append((question, variant))
    return places


def _row(record: Record, where: str, folder: Path, places: list[tuple[str, Variant]]) -> dict[str, object]:
    spec, facts = record.spec, record.facts
    variant = next((v for _, v in places if v.levels), places[0][1] if places else Variant(spec.method))
    changed = ", ".join(f"{factor}: {level}" for factor, level in variant.levels)
    data = "" if spec.target.is_world else " --data-root DATA"
    kind = f"{spec.target.titles} " if spec.target.is_world else ""
    content = f"{kind}titles" if spec.target.modality == "text" else "pictures"
    return {
        "question": " ".join(sorted(q.upper() for q, _ in places)),
        "target": f"{'embedded' if spec.target.is_world else spec.target.folder}, {content}",
        "method": method_name(spec.method),
        "varied": changed,
        "objective": spec.model.objective,
        "seed": spec.seed,
        "HR@10 (%)": round(100 * record.metrics["HR@10"], 2),
        "NDCG@10 (%)": round(100 * record.metrics["NDCG@10"], 2),
        "test users": facts["cases"],
        "trained parameters": facts.get("trainable_parameters", 0),
        "steps": facts.get("steps", 0),
        "best step": facts.get("best_step", 0),
        "seconds": round(facts["seconds"], 1),
        "memory (MiB)": round(facts.get("peak_memory_mb", 0)),
        "where": where,
        "code": facts.get("code", f"commit {facts['commit']}"),
        "finished (UTC)": facts["finished"][:16].replace("T", " "),
        "id": record.id,
        "repeat": f"transrec repeat {record.id} --store {folder}{data}",
    }


class Overview(NamedTuple):
    """All runs of several stores.

    Attributes:
        frame: the sound records, a row each.
        damaged: a row for each of the others, with what is wrong.
        other_code: how many were made by another version of the code that they depend on.
    """

    frame: pd.DataFrame
    damaged: pd.DataFrame
    other_code: int


def all_runs(shelves: Mapping[str, Path]) -> Overview:
    """Reads all records of several stores.

    Args:
        shelves: folders by the word that tells where the records are.
    """
    places, rows, damaged, other_code = _places(), [], [], 0
    for where, folder in shelves.items():
        records, broken = Store(folder).scan()
        name = Path(folder.name) if where == "live" else folder  # no path of this machine
        other_code += sum(r.facts.get("code") != code_version(r.spec) for r in records)
        rows += [_row(record, where, name, places.get(record.id, [])) for record in records]
        damaged += [
            {"where": where, "id": run_id, "what is wrong": reason} for run_id, reason in broken.items()
        ]
    return Overview(pd.DataFrame(rows), pd.DataFrame(damaged), other_code)


def sortable(frame: pd.DataFrame) -> str:
    """A table as HTML that sorts and searches in the page itself, nothing loaded from elsewhere."""
    import itables

    itables.init_notebook_mode(all_interactive=False, connected=False)  # the library goes into the page
    options: dict[str, Any] = {
        "lengthMenu": [25, 100, 1000],
        "pageLength": 25,
        "scrollX": True,
        "allow_html": False,
    }
    options["classes"] = "display compact nowrap"
    return str(itables.to_html_datatable(frame, connected=False, showIndex=False, maxBytes=0, **options))
