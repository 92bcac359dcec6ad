"""The book's parts agree with each other, and nothing in the repository names a machine or a registry."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from transrec_core.base.console import run
from transrec_core.base.errors import UserError
from transrec_core.book import execute as book
from transrec_core.book.execute import (
    NOTEBOOKS,
    ROOT,
    in_order,
    live_runs,
    paired,
    run_pages,
    stages,
    use_own_kernel,
)
from transrec_core.book.pages import clean
from transrec_core.study import executors
from transrec_core.study.grids import load_profile

SOURCES = sorted(NOTEBOOKS.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_pairs_agree_and_hold_no_outputs(source):
    pair = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert pair == paired(source), "run `make sync`"
    assert all(not cell.get("outputs") for cell in json.loads(pair)["cells"])


def test_every_notebook_has_a_pair_and_a_place_in_the_book():
    assert {p.stem for p in NOTEBOOKS.glob("*.ipynb")} == {p.stem for p in SOURCES}
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = [toc["root"], *(c["file"] for c in toc["chapters"])]
    for page in pages:
        if page in ("book/executed/status", "book/executed/api"):
            continue  # written by the execution itself
        if page.startswith("book/executed/"):
            assert (NOTEBOOKS / f"{Path(page).name}.py").exists(), page
        else:
            assert (ROOT / f"{page}.md").exists(), page
    assert {p.stem for p in SOURCES} == {
        Path(p).name for p in pages if p.startswith("book/executed/") and not p.endswith(("/status", "/api"))
    }


@pytest.mark.parametrize("page", [*SOURCES, *sorted((ROOT / "book").glob("*.md"))], ids=lambda p: p.name)
def test_chapters_open_with_what_is_learnt_and_close_with_exercises(page):
    if page.stem in ("glossary", "bibliography"):
        return
    text = page.read_text(encoding="utf-8")
    assert "**What you will learn.**" in text
    labels = set(re.findall(r":label: (\S+)", text))
    assert 2 <= len(labels) <= 3
    assert labels == set(re.findall(r"\{solution\} (\S+)", text)) and text.count(":class: dropdown") == len(
        labels
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_notebooks_take_the_three_parameters(source):
    text = source.read_text(encoding="utf-8")
    cell = text.split('# %% tags=["parameters"]')[1].split("# %%")[0]
    assert re.findall(r"^(\w+) =", cell, re.M) == ["profile", "seed", "data"]


def test_a_page_has_no_trace_of_papermill(tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    own = new_code_cell('profile = "x"\nseed = 0', metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[own, new_code_cell("b", metadata={"tags": ["injected-parameters"]})])
    notebook.metadata["papermill"] = {"input_path": "/somewhere"}
    nbformat.write(notebook, tmp_path / "a.ipynb")
    clean(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {"profile": "smoke", "seed": 3})
    page = (tmp_path / "b.ipynb").read_text()
    assert "papermill" not in page and "injected" not in page
    assert nbformat.read(tmp_path / "b.ipynb", 4).cells[0].source == 'profile = "smoke"\nseed = 3'


class Asked(Exception):
    """What a notebook asks for: specifications and a store."""


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("profile", ["smoke", "laptop"])
@pytest.mark.parametrize(
    "source", [p for p in SOURCES if "run_many(" in p.read_text(encoding="utf-8")], ids=lambda p: p.stem
)
def test_the_runs_that_a_notebook_asks_for_are_those_computed_before_it(
    source, profile, shift, tmp_path, monkeypatch
):
    def ask(specs, store):
        raise Asked({spec.id() for spec in specs}, store.root)

    monkeypatch.setattr(executors, "run_many", ask)
    names = {}
    with pytest.raises(Asked) as asked:
        for cell in json.loads(paired(source))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
            if "parameters" in cell["metadata"].get("tags", []):
                names |= {"profile": profile, "seed": shift, "data": str(tmp_path)}
    assert asked.value.args == (
        {spec.id() for spec in live_runs(load_profile(profile), [source.stem], shift)},
        tmp_path,
    )


def test_runs_of_several_pages_are_computed_once_and_those_of_other_pages_not():
    smoke = load_profile("smoke")
    ids = {name: [spec.id() for spec in live_runs(smoke, [name])] for name in smoke.questions}
    every = [spec.id() for spec in live_runs(smoke, [p.stem for p in SOURCES])]
    assert len(every) == len(set(every)) < sum(map(len, ids.values())) and set(every) == set().union(
        *ids.values()
    )
    assert every[: len(ids["rq1"])] == ids["rq1"]
    assert live_runs(smoke, ["data", "runs"]) == []


def test_every_page_is_executed_once_and_alone_if_it_times_something():
    groups = stages(in_order())
    assert sorted(page for group in groups for page in group) == SOURCES
    place = {page: number for number, group in enumerate(groups) for page in group}
    texts = {page: page.read_text(encoding="utf-8") for page in SOURCES}
    timing = [page for page in SOURCES if re.search(r"perf_counter|costs import measure|timeit", texts[page])]
    assert timing and all(groups[place[page]] == [page] for page in timing)
    (writer,) = (page for page in SOURCES if re.search(r'write_costs\(.*"costs.json"', texts[page]))
    assert all(
        place[writer] < place[page] for page in SOURCES if page != writer and "costs.json" in texts[page]
    )


def pages(folder: Path, **code: str) -> list[Path]:
    """Small notebooks: in each, ``here`` is their folder, and ``await_(NAME)`` waits for a file there."""
    start = (
        SOURCES[0].read_text(encoding="utf-8").split("# %%")[0]
        + '# %% tags=["parameters"]\nhere = "."\n\n# %%\n'
    )
    tools = (
        "import os, pathlib, time\nhere = pathlib.Path(here)\n"
        "def await_(name):\n    while not (here / name).exists():\n        time.sleep(0.05)\n\n# %%\n"
    )
    for name, text in code.items():
        (folder / f"{name}.py").write_text(start + tools + text + "\n")
    return [folder / f"{name}.py" for name in code]


@pytest.fixture()
def two_at_once(monkeypatch):
    use_own_kernel()
    monkeypatch.setattr(book, "at_once", lambda: 2)


@pytest.mark.slow
def test_pages_of_a_group_run_side_by_side_and_the_next_group_after_them(two_at_once, tmp_path):
    meet = "(here / '{}').touch(); await_('{}')"
    both = "assert all((here / name).exists() for name in ('a.ipynb', 'b.ipynb'))"
    a, b, last = pages(tmp_path, a=meet.format("a", "b"), b=meet.format("b", "a"), last=both)
    taken = dict(run_pages([[a, b], [last]], {"here": str(tmp_path)}, tmp_path))
    assert set(taken) == {"a", "b", "last"} and all(seconds > 0 for seconds in taken.values())
    assert list(taken)[-1] == "last" and (tmp_path / "last.ipynb").exists()


@pytest.mark.slow
def test_the_first_page_that_fails_stops_the_others_and_is_named(two_at_once, tmp_path):
    slow, wrong, never = pages(
        tmp_path,
        slow="(here / 'pid.tmp').write_text(str(os.getpid()))\n"
        "os.replace(here / 'pid.tmp', here / 'pid')\ntime.sleep(600)",
        wrong="await_('pid')\n1 / 0",
        never="(here / 'never').touch()",
    )
    began = time.monotonic()
    with pytest.raises(UserError, match=r"wrong\.py, cell \d+: ZeroDivisionError: division by zero"):
        dict(run_pages([[slow, wrong], [never]], {"here": str(tmp_path)}, tmp_path))
    kernel = int((tmp_path / "pid").read_text())
    while gone := time.monotonic() - began < 60:
        try:
            os.kill(kernel, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    assert gone and not (tmp_path / "slow.ipynb").exists() and not (tmp_path / "never").exists()


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_file_names_a_machine_or_a_registry_and_none_is_large():
    words = re.compile(rb"/wor[k]/|/home/[a-z]|files\.pythonhosted|index-ur[l]|find-link[s]")
    for path in tracked():
        if path == Path(__file__).resolve() or not path.is_file():
            continue
        assert path.stat().st_size < 700_000, path
        assert not words.search(path.read_bytes()), path


def test_direct_dependencies_are_pinned_and_environments_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (r for group in groups for r in group):
        assert re.split(r"[<>=]", requirement)[0].lower() in pinned, requirement
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["dependencies"][-1] == {"pip": ["-c constraints.txt", "-e .[book,test]"]}


def test_a_page_that_does_not_exist_is_named_before_anything_runs(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["book", "execute", "--only", "nix"])
    with pytest.raises(SystemExit) as end:
        run(book.app)
    errors = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(errors) == 1 and "--only nix: no such page; there are: " in errors[0]
    assert [page.stem for page in book.chosen_pages(["rq2"])] == ["rq2"]
    assert book.chosen_pages(()) == book.in_order()
