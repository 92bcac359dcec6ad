"""The API reference: a page of autodoc directives, the adapter methods of the registry among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transrec_core.adapters.registry import METHODS

#: Sentence and names, whose docstrings are shown with those of their members, by heading.
SECTIONS: dict[str, tuple[str, str]] = {
    "Data": (
        "What a model is trained and tested on.",
        """data.domain.Domain data.interactions.Interactions data.interactions.Split data.loading.DataSpec
        data.catalog.TextCatalog data.catalog.ImageCatalog data.reading.TitleReader data.reading.PictureReader
        data.readers.read_folder data.readers.write_folder data.tables.read_table""",
    ),
    "Models": (
        "Item content in, next item out. `TransRec` has the methods of the classes that follow it.",
        """models.transrec.TransRec models.recommend.Recommender models.recommendations.Recommendations
        models.files.Saved models.roles.Roles models.spec.ModelSpec models.item_encoder.ItemEncoder
        models.user_encoder.SASRec models.backbones.load_backbone models.params.count""",
    ),
    "Adapters": (
        "Small trained modules on a frozen model. `TransRec`, and what `attach` returns, have the methods of "
        "`AdapterMixin`.",
        """adapters.attach.attach adapters.mixin.AdapterMixin adapters.attach.Attached
        adapters.status.AdapterStatus adapters.config.AdapterConfig adapters.base.Adapter
        adapters.registry.register adapters.anatomy.Anatomy adapters.peft_format.import_peft
        adapters.peft_format.export_peft""",
    ),
    "Training and evaluation": (
        "One run, and what it reaches.",
        """training.trainer.fit training.trainer.Trainer training.spec.TrainSpec training.spec.StepSizes
        training.checkpoints.Progress evaluation.ranking.evaluate evaluation.ranking.Evaluation
        evaluation.ranking.target_ranks evaluation.metrics.metrics evaluation.statistics.paired_difference
        evaluation.statistics.verdicts""",
    ),
    "Studies": (
        "Hundreds of runs, recorded, and what they come to.",
        """study.specs.RunSpec study.run.run study.executors.run_many study.store.Store study.record.Record
        study.provenance.code_version report.estimates.Estimate report.estimates.Comparison""",
    ),
}


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
    for heading, (sentence, names) in SECTIONS.items():
        lines += [f"## {heading}", "", sentence, "", *_block(names.split())]
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
