"""The API reference: a page of autodoc directives, the adapter methods of the registry among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transrec_core.adapters.registry import METHODS

#: Heading, sentence, and dotted names whose docstrings are shown, members included.
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "Data",
        "What a model is trained and tested on.",
        (
            "data.domain.Domain",
            "data.interactions.Interactions",
            "data.interactions.Split",
            "data.loading.DataSpec",
            "data.catalog.TextCatalog",
            "data.catalog.ImageCatalog",
            "data.catalog.tokenize_titles",
            "data.readers.read_folder",
            "data.readers.write_folder",
            "data.tables.read_table",
        ),
    ),
    (
        "Models",
        "Item content in, next item out.",
        (
            "models.transrec.TransRec",
            "models.spec.ModelSpec",
            "models.item_encoder.ItemEncoder",
            "models.user_encoder.SASRec",
            "models.params.count",
        ),
    ),
    (
        "Adapters",
        "Small trained modules on a frozen model.",
        (
            "adapters.config.AdapterConfig",
            "adapters.base.Adapter",
            "adapters.mixin.AdapterMixin",
            "adapters.registry.register",
            "adapters.anatomy.Anatomy",
            "adapters.peft_format.import_peft",
            "adapters.peft_format.export_peft",
        ),
    ),
    (
        "Training and evaluation",
        "One run, and what it reaches.",
        (
            "training.trainer.fit",
            "training.spec.TrainSpec",
            "training.spec.StepSizes",
            "training.checkpoints.Progress",
            "evaluation.ranking.target_ranks",
            "evaluation.metrics.metrics",
            "evaluation.statistics.paired_difference",
            "evaluation.statistics.verdicts",
        ),
    ),
    (
        "Studies",
        "Hundreds of runs, recorded.",
        (
            "study.specs.RunSpec",
            "study.run.run",
            "study.executors.run_many",
            "study.store.Store",
            "study.record.Record",
            "study.provenance.code_version",
        ),
    ),
)


def setup(app: Any) -> dict[str, Any]:
    """Makes this a Sphinx extension: all methods are there before autodoc touches what they derive from."""
    return {"version": str(len(METHODS)), "parallel_read_safe": True}


def reference_page() -> str:
    """The page as MyST text."""
    lines = [
        "# API reference",
        "",
        "**What you will learn.** Each public name: what it takes, what it gives, what it raises.",
        "Made from the docstrings. `import transrec_core as tr` has the names of the front door.",
        "",
    ]
    for heading, sentence, names in SECTIONS:
        lines += [f"## {heading}", "", sentence, "", *_block(names)]
    lines += [
        "## Methods",
        "",
        "The settings of each adapter method, besides those that all share."
        " `tr.LoRA(...)` is `LoRAConfig(...)`.",
        "",
    ]
    for method in METHODS.values():
        config = method.Config
        name = f"{config.__module__.removeprefix('transrec_core.')}.{config.__qualname__}"
        papers = ", ".join(
            f"[{paper}](https://arxiv.org/abs/{paper.removeprefix('arXiv:')})" for paper in method.references
        )
        lines += [
            f"### {method.title or method.method}",
            "",
            *([papers, ""] if papers else []),
            *_block([name]),
        ]
    return "\n".join(lines)


def _block(names: Iterable[str]) -> list[str]:
    rows = ["```{eval-rst}"]
    for name in names:
        kind = "autofunction" if name.rpartition(".")[2].islower() else "autoclass"
        rows += [f".. {kind}:: transrec_core.{name}", *(["   :members:"] if kind == "autoclass" else []), ""]
    return [*rows, "```", ""]
