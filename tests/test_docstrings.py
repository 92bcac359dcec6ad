"""Public names are documented in one way: a docstring, and under "Args" and "Attributes" one name a line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from transrec_core.book.execute import ROOT

FILES = sorted((ROOT / "transrec_core").rglob("*.py"))
Documented = ast.FunctionDef | ast.ClassDef


def public(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    """Public functions and classes of a module, and public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
                yield from ((f"{node.name}.{m.name}", m) for m in methods if not m.name.startswith("_"))


def parameters(node: Documented) -> set[str]:
    if isinstance(node, ast.ClassDef):
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        return set().union(*(parameters(part) for part in inits))
    given = node.args
    return {
        a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg) if a
    }


def section(text: str, heading: str) -> list[str]:
    """The first lines of the entries under a heading of a docstring."""
    match = re.search(rf"^{heading}:\n((?:    .*\n|\n)+)", text + "\n", re.M)
    return [line.strip() for line in match[1].splitlines() if re.match(r"    \S", line)] if match else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT / "transrec_core").as_posix())
def test_public_names_are_documented_one_argument_a_line(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the file says nothing of itself"
    problems = []
    for name, node in public(tree):
        text = ast.get_docstring(node) or ""
        inherited = "." in name and name.rpartition(".")[2] in {
            "forward",
            "roles",
            "build",
            "count",
            "count_shared",
            "build_shared",
            "picture",
            "merge_into",
            "scale_of",
        }
        if not text and not inherited:
            problems.append(f"{name}: no docstring")
        for entry in section(text, "Args"):
            argument = entry.partition(":")[0].lstrip("*")
            if argument not in parameters(node):
                problems.append(f"{name}: 'Args' has '{argument[:40]}', which is no argument")
        for heading in ("Args", "Attributes"):
            several = [e for e in section(text, heading) if re.match(r"\w+(, \w+)+:", e)]
            problems += [f"{name}: several names in '{entry[:40]}'" for entry in several]
    assert not problems, "\n".join(problems)
