"""What a training step of each method costs, and what has to be kept of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from transrec_core.adapters.config import AdapterConfig
from transrec_core.base.files import atomic_write
from transrec_core.models.params import count
from transrec_core.models.transrec import TransRec
from transrec_core.report.comparisons import FULL, by_name
from transrec_core.report.estimates import Comparison
from transrec_core.report.names import in_order, method_name
from transrec_core.study.grids import run_spec
from transrec_core.study.profile import Cell, Profile
from transrec_core.study.stages import build_model
from transrec_core.study.store import Store
from transrec_core.training.costs import measure
from transrec_core.world.loading import load_domain


@dataclass(frozen=True)
class StepCost:
    """What one training step costs.

    Attributes:
        seconds: median over the turns.
        memory: MiB that are held at its peak.
        bytes: that have to be kept for one more domain.
    """

    seconds: float
    memory: float
    bytes: int


def measured(profile: Profile, cell: Cell, seed: int, store: Store) -> dict[str, StepCost]:
    """Trains a few steps of each method of an embedded cell, in turns, in this process.

    Args:
        profile: of the specifications.
        cell: whose methods are measured.
        seed: of the adaptation.
        store: where source models are kept.
    """
    specs = {method: run_spec(profile, cell, method, seed) for method in cell.methods}
    first = next(iter(specs.values()))
    domain = load_domain(first.target)
    models = {method: build_model(spec, store, Path(), domain) for method, spec in specs.items()}
    frame = measure(models, domain, first.training).set_index("method")
    return {
        method: StepCost(
            float(frame.loc[method, "seconds"]), float(frame.loc[method, "memory"]), _kept_bytes(model)
        )
        for method, model in models.items()
    }


def _kept_bytes(model: TransRec) -> int:
    # Of an adapter its file; of anything else what trains, four bytes a parameter.
    if not model.adapters:
        return 4 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    (name,) = model.adapters
    with tempfile.TemporaryDirectory() as folder:
        model.save_adapter(Path(folder) / "adapter", name)
        return sum(path.stat().st_size for path in (Path(folder) / "adapter").glob("*.safetensors"))


def write_costs(path: Path, costs: Mapping[Cell, Mapping[str, StepCost]]) -> None:
    """Keeps measured costs for other pages, by the cell's name."""
    content = {cell.name: {m: asdict(cost) for m, cost in rows.items()} for cell, rows in costs.items()}
    atomic_write(path, json.dumps(content))


def read_costs(path: Path) -> dict[str, dict[str, StepCost]]:
    """What :func:`write_costs` kept, by the cell's name and by method; nothing without the file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {cell: {m: StepCost(**cost) for m, cost in rows.items()} for cell, rows in content.items()}


def cost_table(compared: Iterable[Comparison], costs: Mapping[str, StepCost]) -> pd.DataFrame:
    """What methods cost beside what they reach, in the order of names.

    Args:
        compared: of one cell, full fine-tuning among it.
        costs: of a step, by method.
    """
    methods = by_name(compared)
    full, full_step = methods[FULL.method], costs[FULL.method]
    return pd.DataFrame(
        [
            {
                "method": method_name(m),
                "HR@10 (%) [95 %]": methods[m].quality.percent(),
                "trained parameters": f"{methods[m].costs.trained:,.0f}",
                "of full (%)": f"{100 * methods[m].costs.trained / full.costs.trained:.1f}",
                "step (ms)": f"{1000 * costs[m].seconds:.1f}",
                "step / full": f"{costs[m].seconds / full_step.seconds:.2f}",
                "peak memory (MiB)": f"{costs[m].memory:.1f}",
                "on disk (KiB)": f"{costs[m].bytes / 1024:,.0f}",
            }
            for m in in_order(set(methods) & set(costs))
        ]
    )


@dataclass(frozen=True)
class Storage:
    """What full models and adapters take on disk, bytes.

    Attributes:
        model: a whole model.
        adapter: an adapter's file.
    """

    model: int
    adapter: int

    @classmethod
    def of(cls, encoder: str, method: str) -> Storage:
        """By counting, for a method with its own defaults on a backbone that need not be at hand."""
        row = count(encoder, AdapterConfig(method=method))
        return cls(4 * row["base"], row["bytes"])

    def whole(self, domains: float) -> float:
        """GiB of a whole model for each domain."""
        return domains * self.model / 2**30

    def shared(self, domains: float) -> float:
        """GiB of one model with an adapter for each domain."""
        return (self.model + domains * self.adapter) / 2**30


def storage_table(storage: Storage, domains: Sequence[int]) -> pd.DataFrame:
    """What has to be kept by the number of domains."""
    return pd.DataFrame(
        [
            {
                "domains": n,
                "full fine-tuning (GiB)": f"{storage.whole(n):.2f}",
                "one backbone and adapters (GiB)": f"{storage.shared(n):.2f}",
                "ratio": f"{storage.whole(n) / storage.shared(n):.1f}",
            }
            for n in domains
        ]
    )
