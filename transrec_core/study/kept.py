"""What a run trained, kept beside its record so that it can recommend.

STORE/<id>/model/    of an adapter: its folder, and ``base.json``, which names the source model and the
                     items; of another strategy: the whole model
STORE/items/<hash>/  ids and content of the target's items, and how new ones are read: one copy for all
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from accelerate import PartialState

from transrec_core.base.files import atomic_folder, atomic_write
from transrec_core.base.hashing import content_hash
from transrec_core.data.domain import Domain
from transrec_core.models.files import BASE_FILE, SHIPPED, save_items
from transrec_core.models.transrec import TransRec
from transrec_core.study.specs import RunSpec
from transrec_core.study.store import Store
from transrec_core.training.artefacts import exclusive

CHANGES_NO_RESULT = True

FOLDER = "model"


def keep(model: TransRec, spec: RunSpec, store: Store, target: Domain) -> None:
    """Writes what a run trained to ``STORE/<id>/model``, in one step.

    Args:
        model: as it is after training.
        spec: of the run.
        store: where its record goes.
        target: whose items it recommends.
    """
    model.remember(target)
    model.reader = target.reader
    items = store.root / "items" / content_hash([target.fingerprint(), spec.encoder, spec.target.max_tokens])
    adapter = next(iter(model.adapters)) if spec.adapter is not None else None
    with exclusive(items):
        if not PartialState().is_main_process:
            return
        if adapter is not None and not items.is_dir():
            with atomic_folder(items) as new:
                save_items(new, model.known, model.reader)
        with atomic_folder(store.folder(spec.id()) / FOLDER) as new:
            if adapter is None:
                model.save_pretrained(new, {"run": spec.id(), "method": spec.method, "seed": spec.seed})
                return
            model.save_adapter(new / adapter, adapter)
            source = spec.source_id()
            base = f"shipped:{source}" if (SHIPPED / source).is_dir() else f"../../sources/{source}"
            fields = {"base": base, "adapter": adapter, "items": f"../../items/{items.name}"}
            atomic_write(new / BASE_FILE, json.dumps(fields, indent=2) + "\n")


def recommend_line(run_id: str, store: Path) -> str | None:
    """The command that recommends with what a run trained, ready to be pasted; None if nothing was kept.

    Args:
        run_id: of the run.
        store: folder of its record.
    """
    if not (store / run_id / FOLDER).is_dir():
        return None
    return f"transrec recommend {shlex.quote(str(store / run_id))} --histories FILE --k 10"
