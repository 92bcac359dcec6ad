"""The API reference names what exists, all methods too; the architecture page names files that are there."""

from __future__ import annotations

import importlib
import re

from transrec_core.adapters import METHODS
from transrec_core.book.execute import ROOT
from transrec_core.book.reference import reference_page


def test_each_name_of_the_reference_exists_and_is_documented():
    names = re.findall(r"^\.\. auto\w+:: (\S+)$", reference_page(), re.M)
    assert len(names) == len(set(names)) > 40
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name


def test_each_method_is_in_the_reference():
    page = reference_page()
    for method in METHODS.values():
        assert f"### {method.title}\n" in page and f".{method.Config.__qualname__}\n" in page


def test_the_evenings_route_is_fifteen_files_that_exist():
    page = (ROOT / "book" / "architecture.md").read_text(encoding="utf-8")
    route = re.findall(r"^\| (\d+) \| `(.+?)` \|", page, re.M)
    assert [int(number) for number, _ in route] == list(range(1, 16))
    named = {file for _, file in route} | set(re.findall(r"`(\w+/[\w/]+\.py)`", page))
    missing = [file for file in named if not (ROOT / "transrec_core" / file).is_file()]
    assert not missing
