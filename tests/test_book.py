"""The book's parts agree with each other, and nothing in the repository names a machine or a registry."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from transrec_core.book import NOTEBOOKS, ROOT, clean, paired

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
        if page == "book/executed/status":
            continue  # written by the execution itself
        if page.startswith("book/executed/"):
            assert (NOTEBOOKS / f"{Path(page).name}.py").exists(), page
        else:
            assert (ROOT / f"{page}.md").exists(), page
    assert {p.stem for p in SOURCES} == {Path(p).name for p in pages if p.startswith("book/executed/") and not p.endswith("/status")}


@pytest.mark.parametrize("page", [*SOURCES, *sorted((ROOT / "book").glob("*.md"))], ids=lambda p: p.name)
def test_chapters_open_with_what_is_learnt_and_close_with_exercises(page):
    if page.stem in ("glossary", "bibliography"):
        return
    text = page.read_text(encoding="utf-8")
    assert "**What you will learn.**" in text
    labels = set(re.findall(r":label: (\S+)", text))
    assert 2 <= len(labels) <= 3
    assert labels == set(re.findall(r"\{solution\} (\S+)", text)) and text.count(":class: dropdown") == len(labels)


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
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (r for group in groups for r in group):
        assert re.split(r"[<>=]", requirement)[0].lower() in pinned, requirement
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert conda["dependencies"][-1] == {"pip": ["-c constraints.txt", "-e .[book,test]"]}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the code, to which a contributor adds things."""
    folder = tmp_path_factory.mktemp("contributor")
    for part in ("transrec_core", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "assets"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.S)


def laws(folder: Path, name: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_laws.py", "-k", name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(folder)})
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 50


def test_contributings_adapter_is_one_file_one_line_and_one_row_and_the_laws_cover_it(copied):
    file, line, row = blocks()[:3]
    assert sum(block.count("\n") for block in (file, line, row)) <= 40
    (copied / "transrec_core/adapters/scale.py").write_text(file)
    with (copied / "transrec_core/adapters/__init__.py").open("a") as registry:
        registry.write(line)
    tests = copied / "tests/test_laws.py"
    tests.write_text(tests.read_text().replace('        "side": layers', row + '        "side": layers'))
    laws(copied, "scale")


def test_contributings_backbone_is_one_entry_and_one_row_and_the_laws_cover_it(copied):
    entry, row = blocks()[3:5]
    assert entry.count("\n") + row.count("\n") <= 40
    for file, block in (("transrec_core/adapters/anatomy.py", entry), ("tests/tiny.py", row)):
        with (copied / file).open("a") as code:
            code.write("\n" + block)
    laws(copied, "dinov2")

