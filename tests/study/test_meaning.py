"""The fingerprint of the code by what it means: what changes it, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from transrec_core.adapters import AdapterConfig
from transrec_core.study import meaning
from transrec_core.study.provenance import code_version
from transrec_core.study.specs import RunSpec

PLAIN = """
from math import sqrt
from a.b import c

STEPS = 3

def area(x: float, y: float = 2.0) -> float:
    if x < 0:
        raise ValueError("no such side")
    return sqrt(x) * y
"""
SAME = '''"""What this is for."""

from elsewhere.b import c

STEPS: int = 3  # as in the paper


def area(x, y=2.0):
    """The area of something.

    Raises:
        ValueError: if there is no such side.
    """
    if x < 0:
        raise ValueError(f"a side is not negative, {x} is")

    return (
        sqrt(x)
        * y
    )
'''


def test_documented_annotated_and_reformatted_code_means_the_same():
    assert meaning.statements(PLAIN) == meaning.statements(SAME)


@pytest.mark.parametrize(
    "change",
    [
        ("3", "4"),
        ("2.0", "2.5"),
        ("x < 0", "x <= 0"),
        (" * y", " + y"),
        ("sqrt(x)", "x"),
        ("x: float, y", "y: float, x"),
    ],
)
def test_another_number_operation_or_order_means_something_else(change):
    assert PLAIN.count(change[0]) == 1
    assert meaning.statements(PLAIN) != meaning.statements(PLAIN.replace(*change))


def test_what_an_adapter_says_of_itself_for_readers_is_no_meaning():
    code = "class A:\n    title = 'a'\n    grid = (1,)\n    def picture(cls):\n        return 3\n"
    assert meaning.statements(code) == meaning.statements(code.replace("'a'", "'b'").replace("3", "4"))
    assert meaning.statements(code) != meaning.statements(code.replace("(1,)", "(2,)"))


RUNS = {
    "full": RunSpec(),
    "lora": RunSpec(strategy="adapter", adapter=AdapterConfig(method="lora")),
    "dora": RunSpec(strategy="adapter", adapter=AdapterConfig(method="dora")),
    "houlsby": RunSpec(strategy="adapter", adapter=AdapterConfig(method="houlsby")),
    "folders": RunSpec(encoder="minilm", target={"folder": "b"}, source={"data": {"folder": "a"}}),
}


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """The code versions of all runs by a copy of the package, which is in ``versions.folder``."""
    folder = tmp_path / "transrec_core"
    shutil.copytree(
        meaning.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__", "assets", "profiles")
    )
    monkeypatch.setattr(meaning, "PACKAGE", folder)

    def now() -> dict[str, str]:
        for function in (meaning._source, meaning.used):
            function.cache_clear()
        return {name: code_version(spec) for name, spec in RUNS.items()}

    now.folder = folder
    yield now
    for function in (meaning._source, meaning.used):
        function.cache_clear()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def test_moving_a_module_and_adding_an_adapter_change_no_version(versions):
    before, folder = versions(), versions.folder
    (folder / "base" / "vectors.py").write_text((folder / "models" / "user_encoder.py").read_text())
    (folder / "models" / "user_encoder.py").unlink()
    for path in folder.rglob("*.py"):
        path.write_text(
            path.read_text().replace("transrec_core.models.user_encoder", "transrec_core.base.vectors")
        )
    (folder / "adapters" / "methods" / "other.py").write_text("class Other:\n    size = 3\n")
    assert versions() == before


def test_a_function_may_move_to_another_module_that_is_used(versions):
    before, folder = versions(), versions.folder
    metrics, ranking = folder / "evaluation" / "metrics.py", folder / "evaluation" / "ranking.py"
    text = metrics.read_text()
    place = text.index("\ndef metrics(")
    metrics.write_text(text[:place])
    ranking.write_text(ranking.read_text() + text[place:])
    assert versions() == before


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("training/spec.py", "Field(5.0, gt=0)", "Field(6.0, gt=0)", set(RUNS)),
        ("models/user_encoder.py", "4 * dim)", "3 * dim)", set(RUNS)),
        ("models/roles.py", 'role = "head"', 'role = "user"', set(RUNS)),
        ("models/recommend.py", "1 << 20", "1 << 21", set()),
        ("adapters/methods/lora.py", "return alpha / rank", "return alpha / rank / 2", {"lora", "dora"}),
        (
            "adapters/methods/houlsby.py",
            "y + self.scale * correction",
            "y - self.scale * correction",
            {"houlsby"},
        ),
        ("world/config.py", "follow: float = 0.6", "follow: float = 0.7", set(RUNS) - {"folders"}),
        ("report/names.py", '"head only"', '"the head"', set()),
        ("adapters/drawing.py", "460, 96", "460, 97", set()),
    ],
)
def test_a_changed_number_changes_the_runs_that_use_it_and_no_others(versions, file, old, new, changed):
    before = versions()
    edit(versions.folder / file, old, new)
    after = versions()
    assert {name for name in RUNS if before[name] != after[name]} == changed
