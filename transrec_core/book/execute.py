"""Making the book: pairs in step, notebooks executed, tables and figures that read well in light, dark and on
a phone.

python -m transrec_core.book.execute sync                      .py (the source) -> .ipynb without outputs
python -m transrec_core.book.execute execute --profile smoke   all live runs, then .py ->
book/executed/NAME.ipynb, with papermill python -m transrec_core.book.execute report                    where
the book is and how long it took
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transrec_core.base.config import nearest
from transrec_core.base.errors import UserError
from transrec_core.base.files import atomic_write
from transrec_core.base.processes import process_pool
from transrec_core.book.pages import TIMED, clean, status_page
from transrec_core.book.reference import reference_page
from transrec_core.book.show import style

if TYPE_CHECKING:
    from transrec_core.study.profile import Profile
    from transrec_core.study.specs import RunSpec

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS, EXECUTED = ROOT / "notebooks", ROOT / "book" / "executed"
STATUS = EXECUTED / "status.json"
KERNEL = "transrec"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def paired(source: Path) -> str:
    """The .ipynb of a .py notebook as text: no outputs, and cell ids that depend on the place only, so
    that a diff shows what changed.
    """
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
    """Compute the runs of all questions, then run the notebooks, which find them; the first failure ends
    it with a non-zero status.
    """
    from transrec_core.study.executors import run_many
    from transrec_core.study.grids import load_profile
    from transrec_core.study.store import Store

    pages, study = chosen_pages(only or ()), load_profile(profile)
    use_own_kernel()
    status: dict[str, Any] = {
        "profile": profile,
        "python": platform.python_version(),
        "at once": at_once(),
        "seconds": {},
    }
    if only and STATUS.exists():
        status |= {
            key: value
            for key, value in json.loads(STATUS.read_text(encoding="utf-8")).items()
            if key in ("seconds", "runs")
        }
    store = Store((ROOT / data).resolve())
    parameters = {"profile": profile, "seed": seed, "data": str(store.root)}
    began = time.perf_counter()
    if plan := live_runs(study, [source.stem for source in pages], seed):
        new = sum(not store.has(spec.id()) for spec in plan)
        run_many(plan, store)
        status["runs"] = {"all": len(plan), "new": new, "seconds": round(time.perf_counter() - began, 1)}
        print(f"{len(plan)} runs, {new} of them new: {status['runs']['seconds']} s", flush=True)
    for name, seconds in run_pages(stages(pages), parameters, EXECUTED):
        status["seconds"][name] = seconds
        print(f"{name}: {seconds} s", flush=True)
    status["seconds"] = {
        source.stem: status["seconds"][source.stem]
        for source in in_order()
        if source.stem in status["seconds"]
    }
    if not only:
        status["all"] = round(time.perf_counter() - began, 1)
    atomic_write(STATUS, json.dumps(status, indent=2) + "\n")
    atomic_write(EXECUTED / "status.md", status_page(status))
    atomic_write(EXECUTED / "api.md", reference_page())


def chosen_pages(only: Sequence[str]) -> list[Path]:
    """The notebooks of these names, in the order of execution; all if there are none.

    Raises:
        UserError: if there is no notebook of a name.
    """
    names = [source.stem for source in in_order()]
    for name in only:
        if name not in names:
            raise UserError(f"--only {name}: no such page; {nearest(name, names)}")
    return [source for source in in_order() if not only or source.stem in only]


def live_runs(study: Profile, pages: Iterable[str], shift: int = 0) -> list[RunSpec]:
    """The runs that pages show of the questions that are named like them, each once: first one for each
    source model that has to be trained, so that these long ones run side by side and nobody waits for
    them; then all others in the order of worth.
    """
    from transrec_core.study.grids import question_specs
    from transrec_core.study.specs import FROM_SOURCE
    from transrec_core.world.encoders import ASSETS

    plan: dict[str, RunSpec] = {}
    for name in sorted(set(pages) & set(study.questions)):
        plan |= {
            run_id: spec
            for run_id, (_, _, spec) in question_specs(study, study.question(name, shift)).items()
            if run_id not in plan
        }
    long: dict[str, RunSpec] = {}
    for spec in plan.values():
        if spec.strategy in FROM_SOURCE and not (ASSETS / "source" / spec.source_id()).is_dir():
            long.setdefault(spec.source_id(), spec)
    return list({spec.id(): spec for spec in (*long.values(), *plan.values())}.values())


def in_order() -> list[Path]:
    """The notebooks in the order of execution."""
    return sorted(NOTEBOOKS.glob("*.py"), key=lambda p: (p.stem not in TIMED, p.stem))


def stages(pages: Iterable[Path]) -> list[list[Path]]:
    """Groups of notebooks that may run side by side, one after the other: each that times something alone,
    then all others.
    """
    pages = list(pages)
    return [
        *([page] for page in pages if page.stem in TIMED),
        [page for page in pages if page.stem not in TIMED],
    ]


def at_once() -> int:
    """How many notebooks run side by side: as many as there are cores, at most four, as each takes some
    memory.
    """
    from transrec_core.study.executors import cores

    return min(4, cores())


def run_pages(
    groups: Iterable[Sequence[Path]], parameters: dict[str, Any], into: Path
) -> Iterator[tuple[str, float]]:
    """Executes notebooks, those of a group side by side, each in a kernel of its own, and writes their pages.

    Yields:
        Name and seconds of each as it ends.

    Raises:
        UserError: at the first that fails, once the others are stopped; names it, the cell and the error.
    """
    # Processes, not threads: papermill changes the folder of its whole process; and a kernel ends by itself
    # when its process is ended.
    with tempfile.TemporaryDirectory() as scratch, process_pool(at_once()) as pool:
        for group in groups:
            for ended in as_completed(
                [pool.submit(run_page, source, parameters, into, Path(scratch)) for source in group]
            ):
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
    clean(
        done,
        into / f"{source.stem}.ipynb",
        {key: value for key, value in parameters.items() if key != "data"},
    )
    return source.stem, round(time.perf_counter() - began, 1)


def use_own_kernel() -> None:
    """Registers a kernel of this very interpreter in this environment, so that no other installed kernel
    is taken.
    """
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
    """Draw the README's picture from the live records: the costs of the first and the pictures' SASRec
    cell.
    """
    from transrec_core.report.comparisons import by_method, compare
    from transrec_core.report.figures import plot_costs
    from transrec_core.study.grids import cell_specs, load_profile
    from transrec_core.study.store import Store

    style()
    profile, store = load_profile("laptop"), Store(ROOT / data)
    question = profile.question("rq1")
    cells = [c for c in question.cells if c.name in ("text-informative-sasrec", "image-sasrec")]
    compared = {
        cell: compare(by_method(store.read(spec.id()) for spec in cell_specs(profile, cell, question.seeds)))
        for cell in cells
    }
    plot_costs(compared).savefig(ROOT / "book" / "_static" / "rq1.png", dpi=100)
