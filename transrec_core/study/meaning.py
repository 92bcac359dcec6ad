"""What a piece of code means, as a hash: its syntax tree without all that can't change a result.

Left out are docstrings, comments, annotations, imports, messages of errors, names of files, and what an
adapter class says of itself for readers. So code may be moved, reformatted and documented, and keeps its
hash; with another number, operation or order it has another one.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import transrec_core

PACKAGE = Path(transrec_core.__file__).parent

#: A module that says so at its top level can't change a result, whoever imports it.
MARK = "CHANGES_NO_RESULT"
#: Of a class: what it is called and drawn like, for readers only.
FOR_READERS = {"picture", "title", "family", "year", "references", "count", "count_shared"}
#: Fields of a node that are no meaning, or differ between versions of Python.
_NO_MEANING = {"annotation", "returns", "type_comment", "type_params", "kind", "ctx", "simple", "msg"}


class _Stripped(ast.NodeTransformer):
    """Takes out of a tree what can't change a result."""

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        if node.value is None:
            return ast.Expr(node.target)  # a field without a default: its name and place stay
        return ast.Assign([node.target], self.visit(node.value))

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return ast.Raise()

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if _for_types(node) else self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[1:] if node.body and _is_text(node.body[0]) else node.body
            if isinstance(node, ast.ClassDef):
                node.body = [part for part in node.body if not _names(part) & FOR_READERS]
        return super().generic_visit(node)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_text(node: ast.stmt) -> bool:
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def _names(node: ast.stmt) -> set[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _written(node: object) -> str:
    # ast.dump differs between versions of Python: this writes the same in all of them.
    if isinstance(node, ast.AST):
        fields = [(k, v) for k, v in ast.iter_fields(node) if k not in _NO_MEANING and v not in (None, [])]
        return f"{type(node).__name__}({', '.join(f'{k}={_written(v)}' for k, v in fields)})"
    return f"[{', '.join(map(_written, node))}]" if isinstance(node, list) else repr(node)


@functools.cache
def statements(source: str) -> tuple[str, ...]:
    """Hashes of a module's top-level statements, in which moving one to another module changes nothing.

    Args:
        source: the module's text.
    """
    tree = _Stripped().visit(ast.parse(source))
    texts = [_written(node) for node in tree.body if not _names(node) & {"__all__", MARK}]
    return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)


def meaning(modules: Iterable[str]) -> str:
    """12 hex digits for what several modules compute together.

    Args:
        modules: dotted names, e.g. "transrec_core.training.trainer".
    """
    parts = sorted({part for module in modules for part in statements(_source(module))})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@functools.cache
def _source(module: str) -> str:
    """A module's text; read once a process, so that a file that is edited meanwhile changes nothing in it."""
    return _path(module).read_text(encoding="utf-8")


def _path(module: str) -> Path:
    place = PACKAGE.parent / module.replace(".", "/")
    return place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"


def _imports(module: str) -> frozenset[str]:
    """The modules of this package that a module imports, wherever in it, for types alone left out."""
    places = {
        name if _path(name).is_file() else name.rpartition(".")[0] for name in _imported(_source(module))
    }
    return frozenset(name for name in places if _path(name).name != "__init__.py")


@functools.cache
def _imported(source: str) -> frozenset[str]:
    """What a module's text imports from this package, with the module that each name is of."""
    names, waiting = set[str](), list[ast.AST]([ast.parse(source)])
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("transrec_core."):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif not _for_types(node):
            waiting += ast.iter_child_nodes(node)
    return frozenset(names)


@functools.cache
def used(module: str) -> frozenset[str]:
    """A module and all that it imports, directly or not, without those that say they change no result."""
    reached, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _imports(name)
    return frozenset(name for name in reached if f"\n{MARK} = True" not in _source(name))
