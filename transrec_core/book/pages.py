"""Executed notebooks made into pages, and the page on how long this build took."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from typing import Any

from transrec_core.base.files import atomic_write

#: Pages that time something: nothing may run beside them. They come first, because the guidance reads the
#: costs that rq2 measures.
TIMED = ("anatomy", "rq2")


def status_page(status: dict[str, Any]) -> str:
    """How long the runs and each notebook took, and on what, as a page."""
    import torch

    from transrec_core.study.executors import cores
    from transrec_core.study.provenance import code_version, environment

    facts = environment()
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    rows = [f"| {{doc}}`{name}` | {seconds:.0f} |" for name, seconds in status["seconds"].items()]
    alone = " and ".join(f"{{doc}}`{name}`" for name in TIMED)
    if runs := status.get("runs"):
        rows.insert(0, f"| the {runs['all']} live runs, {runs['new']} of them new | {runs['seconds']:.0f} |")
    if "all" in status:
        rows.append(f"| **all, as the clock says** | **{status['all']:.0f}** |")
    return "\n".join(
        [
            "# Status of this build",
            "",
            (
                "**What you will learn.** How long the runs and each notebook took when this book was built, "
                "and on what."
            ),
            "",
            f"Profile `{status['profile']}`, built {facts['finished'][:16].replace('T', ' ')} UTC from "
            f"commit `{facts['commit']}`, "
            f"code version `{code_version()}`.",
            "",
            "| what | seconds |",
            "|---|---|",
            *rows,
            "",
            "The live runs of all questions come first, one on each core; the notebooks then find them on "
            f"disk. {alone} run alone, because they "
            f"time something, the others up to {status['at once']} at once.",
            "",
            (
                f"{cores()} cores, {platform.machine()} with {facts['cpu']}, {torch.get_num_threads()} "
                f"thread(s) a process; {versions}."
            ),
            "",
            (
                "Runs that were on disk already are not computed again; after `make clean`, `make book` "
                "computes everything."
            ),
            "",
        ]
    )


def clean(executed: Path, page: Path, parameters: dict[str, Any]) -> None:
    """Writes an executed notebook as a page: the parameters that it ran with stand in its own cell for
    them, not in one that papermill adds, and no path of this machine is left.
    """
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if "parameters" in cell.metadata.get("tags", []):
            for name, value in parameters.items():
                cell.source = re.sub(
                    rf"^{name} = .*$", f"{name} = {json.dumps(value)}", cell.source, flags=re.M
                )
    notebook.metadata.pop("papermill", None)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    atomic_write(page, nbformat.writes(notebook, version=4) + "\n")
