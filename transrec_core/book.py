"""Making the book: pairs in step, notebooks executed, tables and figures that read well in light, dark and on a phone.

python -m transrec_core.book sync                      .py (the source) -> .ipynb without outputs
python -m transrec_core.book execute --profile smoke   all live runs, then .py -> book/executed/NAME.ipynb, with papermill
python -m transrec_core.book report                    where the book is and how long it took
"""

from __future__ import annotations

import json
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transrec_core.console import run
from transrec_core.errors import UserError
from transrec_core.files import atomic_write
from transrec_core.processes import process_pool

if TYPE_CHECKING:
    from transrec_core.grids import Profile
    from transrec_core.specs import RunSpec

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, EXECUTED = ROOT / "notebooks", ROOT / "book" / "executed"
STATUS = EXECUTED / "status.json"
KERNEL = "transrec"
#: Pages that time something: nothing may run beside them. They come first, because the guidance reads the costs that rq2 measures.
TIMED = ("anatomy", "rq2")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def paired(source: Path) -> str:
    """The .ipynb of a .py notebook as text: no outputs, and cell ids that depend on the place only, so that a diff shows what changed."""
    import jupytext
    import nbformat

    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem}-{number:03d}"
    return str(nbformat.writes(notebook, version=4)) + "\n"


@app.command("sync")
def sync() -> None:
    """Write each pair's .ipynb from its .py."""
    for source in sorted(NOTEBOOKS.glob("*.py")):
        atomic_write(source.with_suffix(".ipynb"), paired(source))


@app.command("execute")
def execute(
    profile: Annotated[str, typer.Option(help="How big: smoke or laptop.")] = "laptop",
    seed: Annotated[int, typer.Option(help="Added to the profile's seeds.")] = 0,
    data: Annotated[Path, typer.Option(help="Folder of live records.")] = Path("runs"),
    only: Annotated[list[str] | None, typer.Option(help="Names of notebooks; all by default.")] = None,
) -> None:
    """Compute the runs of all questions, then run the notebooks, which find them; the first failure ends it with a non-zero status."""
    from transrec_core.grids import load_profile
    from transrec_core.store import Store
    from transrec_core.study import run_many

    study = load_profile(profile)
    use_own_kernel()
    status: dict[str, Any] = {"profile": profile, "python": platform.python_version(), "at once": at_once(), "seconds": {}}
    if only and STATUS.exists():
        status |= {key: value for key, value in json.loads(STATUS.read_text(encoding="utf-8")).items() if key in ("seconds", "runs")}
    store = Store((ROOT / data).resolve())
    parameters = {"profile": profile, "seed": seed, "data": str(store.root)}
    pages = [source for source in in_order() if not only or source.stem in only]
    began = time.perf_counter()
    if plan := live_runs(study, [source.stem for source in pages], seed):
        new = sum(not store.has(spec.id()) for spec in plan)
        run_many(plan, store)
        status["runs"] = {"all": len(plan), "new": new, "seconds": round(time.perf_counter() - began, 1)}
        print(f"{len(plan)} runs, {new} of them new: {status['runs']['seconds']} s", flush=True)
    for name, seconds in run_pages(stages(pages), parameters, EXECUTED):
        status["seconds"][name] = seconds
        print(f"{name}: {seconds} s", flush=True)
    status["seconds"] = {source.stem: status["seconds"][source.stem] for source in in_order() if source.stem in status["seconds"]}
    if not only:
        status["all"] = round(time.perf_counter() - began, 1)
    atomic_write(STATUS, json.dumps(status, indent=2) + "\n")
    atomic_write(EXECUTED / "status.md", status_page(status))


def live_runs(study: Profile, pages: Iterable[str], shift: int = 0) -> list[RunSpec]:
    """The runs that pages show of the questions that are named like them, each once: first one for each source model that has to be trained,
    so that these long ones run side by side and nobody waits for them; then all others in the order of worth."""
    from transrec_core.grids import question_specs
    from transrec_core.specs import FROM_SOURCE
    from transrec_core.stages import ASSETS

    plan: dict[str, RunSpec] = {}
    for name in sorted(set(pages) & set(study.questions)):
        plan |= {run_id: spec for run_id, (_, _, spec) in question_specs(study, study.question(name, shift)).items() if run_id not in plan}
    long: dict[str, RunSpec] = {}
    for spec in plan.values():
        if spec.strategy in FROM_SOURCE and not (ASSETS / "source" / spec.source_id()).is_dir():
            long.setdefault(spec.source_id(), spec)
    return list({spec.id(): spec for spec in (*long.values(), *plan.values())}.values())


def in_order() -> list[Path]:
    """The notebooks in the order of execution."""
    return sorted(NOTEBOOKS.glob("*.py"), key=lambda p: (p.stem not in TIMED, p.stem))


def stages(pages: Iterable[Path]) -> list[list[Path]]:
    """Groups of notebooks that may run side by side, one after the other: each that times something alone, then all others."""
    pages = list(pages)
    return [*([page] for page in pages if page.stem in TIMED), [page for page in pages if page.stem not in TIMED]]


def at_once() -> int:
    """How many notebooks run side by side: as many as there are cores, at most four, as each takes some memory."""
    from transrec_core.executors import cores

    return min(4, cores())


def run_pages(groups: Iterable[Sequence[Path]], parameters: dict[str, Any], into: Path) -> Iterator[tuple[str, float]]:
    """Executes notebooks, those of a group side by side, each in a kernel of its own, and writes their pages.

    Yields:
        Name and seconds of each as it ends.

    Raises:
        UserError: at the first that fails, once the others are stopped; names it, the cell and the error.
    """
    # Processes, not threads: papermill changes the folder of its whole process; and a kernel ends by itself when its process is ended.
    with tempfile.TemporaryDirectory() as scratch, process_pool(at_once()) as pool:
        for group in groups:
            for ended in as_completed([pool.submit(run_page, source, parameters, into, Path(scratch)) for source in group]):
                yield ended.result()


def run_page(source: Path, parameters: dict[str, Any], into: Path, scratch: Path) -> tuple[str, float]:
    """Executes one notebook and writes its page; returns its name and seconds."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    began = time.perf_counter()
    plain, done = scratch / f"{source.stem}.ipynb", scratch / f"{source.stem}.done.ipynb"
    plain.write_text(paired(source), encoding="utf-8")
    try:
        papermill.execute_notebook(plain, done, parameters, kernel_name=KERNEL, cwd=ROOT, progress_bar=False)
    except PapermillExecutionError as error:
        raise UserError(f"{source.name}, cell {error.exec_count}: {error.ename}: {error.evalue}") from None
    clean(done, into / f"{source.stem}.ipynb", {key: value for key, value in parameters.items() if key != "data"})
    return source.stem, round(time.perf_counter() - began, 1)


def status_page(status: dict[str, Any]) -> str:
    """How long the runs and each notebook took, and on what, as a page."""
    import torch

    from transrec_core.executors import cores
    from transrec_core.provenance import code_version, environment

    facts = environment()
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    rows = [f"| {{doc}}`{name}` | {seconds:.0f} |" for name, seconds in status["seconds"].items()]
    alone = " and ".join(f"{{doc}}`{name}`" for name in TIMED)
    if runs := status.get("runs"):
        rows.insert(0, f"| the {runs['all']} live runs, {runs['new']} of them new | {runs['seconds']:.0f} |")
    if "all" in status:
        rows.append(f"| **all, as the clock says** | **{status['all']:.0f}** |")
    return "\n".join([
        "# Status of this build", "",
        "**What you will learn.** How long the runs and each notebook took when this book was built, and on what.", "",
        f"Profile `{status['profile']}`, built {facts['finished'][:16].replace('T', ' ')} UTC from commit `{facts['commit']}`, "
        f"code version `{code_version()}`.", "",
        "| what | seconds |", "|---|---|", *rows, "",
        f"The live runs of all questions come first, one on each core; the notebooks then find them on disk. {alone} run alone, because they "
        f"time something, the others up to {status['at once']} at once.", "",
        f"{cores()} cores, {platform.machine()} with {facts['cpu']}, {torch.get_num_threads()} thread(s) a process; {versions}.", "",
        "Runs that were on disk already are not computed again; after `make clean`, `make book` computes everything.", "",
    ])  # fmt: skip


def clean(executed: Path, page: Path, parameters: dict[str, Any]) -> None:
    """Writes an executed notebook as a page: the parameters that it ran with stand in its own cell for them, not in one that papermill
    adds, and no path of this machine is left."""
    import nbformat

    notebook = nbformat.read(executed, as_version=4)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if "parameters" in cell.metadata.get("tags", []):
            for name, value in parameters.items():
                cell.source = re.sub(rf"^{name} = .*$", f"{name} = {json.dumps(value)}", cell.source, flags=re.M)
    notebook.metadata.pop("papermill", None)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    atomic_write(page, nbformat.writes(notebook, version=4) + "\n")


def use_own_kernel() -> None:
    """Registers a kernel of this very interpreter in this environment, so that no other installed kernel is taken."""
    from ipykernel.kernelspec import install

    install(prefix=sys.prefix, kernel_name=KERNEL, display_name="transrec")


@app.command("report")
def report() -> None:
    """Say where the built book is and what its runs and each notebook took."""
    status = json.loads(STATUS.read_text(encoding="utf-8"))
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in status["seconds"].items())
    if runs := status.get("runs"):
        times = f"{runs['new']} new runs {runs['seconds']:.0f} s, {times}"
    print(f"profile {status['profile']}: {times}\nthe book: {ROOT / '_build' / 'html' / 'index.html'}")


@app.command("picture")
def picture(data: Annotated[Path, typer.Option(help="Folder of live records.")] = Path("runs")) -> None:
    """Draw the README's picture from the live records: the costs of the first and the pictures' SASRec cell."""
    from transrec_core.figures import plot_costs
    from transrec_core.grids import cell_specs, load_profile
    from transrec_core.report import summary
    from transrec_core.store import Store

    style()
    profile, store = load_profile("laptop"), Store(ROOT / data)
    question = profile.question("rq1")
    cells = [c for c in question.cells if c.name in ("text-informative-sasrec", "image-sasrec")]
    summaries = {cell: summary([store.read(spec.id()) for spec in cell_specs(profile, cell, question.seeds)]) for cell in cells}
    plot_costs(summaries).savefig(ROOT / "book" / "_static" / "rq1.png", dpi=100)


def style() -> None:
    """Figures on a white card with large type: they read in light and dark mode, and scaled down on a phone."""
    import seaborn as sns

    sns.set_theme(
        context="notebook", style="whitegrid", palette="colorblind",
        rc={"figure.dpi": 110, "savefig.dpi": 110, "figure.facecolor": "white", "font.size": 13, "axes.titlesize": 13, "axes.labelsize": 13,
            "legend.fontsize": 12, "axes.spines.top": False, "axes.spines.right": False, "figure.figsize": (7.2, 4)},
    )  # fmt: skip


def show_table(frame: Any, caption: str, text: bool = False) -> None:
    """Displays a data frame as a table that scrolls sideways in its own box where it is wider than the page.

    Args:
        text: cells hold words, so they are set left and wrapped.
    """
    from html import escape

    from IPython.display import HTML, display

    html = frame.to_html(index=False, border=0, classes=["study-table", *(["study-text"] if text else [])], escape=True)
    display(HTML(f'<div class="table-box"><p class="table-caption">{escape(caption)}</p>{html}</div>'))


def show_worlds(question: str) -> None:
    """Displays what the controls of a question reach in the embedded world and on real data, the verdicts of both, and where they disagree."""
    from IPython.display import Markdown, display

    from transrec_core import worlds

    both = worlds.shipped(question)
    beside = worlds.beside(question, *both)
    show_table(worlds.controls_table(*both), "Full fine-tuning and controls, in the embedded world and on real data", text=True)
    if len(beside):
        show_table(beside, "Verdicts, and differences in percent of full fine-tuning", text=True)
    display(Markdown(worlds.disagreements(beside)))


def show_adapter(method: str) -> None:
    """Displays an adapter: its picture, the code of its forward pass, and what it adds to bert-base."""
    import inspect
    import textwrap

    from IPython.display import HTML, Markdown, display

    from transrec_core.adapters import METHODS, AdapterConfig
    from transrec_core.drawings import draw
    from transrec_core.params import count

    found = METHODS[method]
    config = AdapterConfig(method=method)
    row = count("bert-base-uncased", config)
    owner = next(c for c in found.__mro__ if "forward" in c.__dict__)
    code = textwrap.dedent(inspect.getsource(owner.__dict__["forward"])).rstrip()
    display(HTML(f'<div class="adapter-card">{draw(method)}</div>'))
    display(Markdown(f"On bert-base with d = 64: **{row['added']:,}** parameters, {100 * row['added'] / row['base']:.2f} % of the model's.\n\n"
                     f"```python\n# {owner.__name__} in {Path(inspect.getfile(owner)).name}\n{code}\n```"))  # fmt: skip


if __name__ == "__main__":
    run(app)
