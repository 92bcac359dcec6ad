"""What is not asked for is not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import transrec_core.models


@pytest.mark.parametrize(
    "package", ["transrec_core", "transrec_core.models", "transrec_core.adapters", "transrec_core.data"]
)
def test_a_package_alone_imports_no_torch(package):
    heavy = ("torch", "transformers", "pandas", "numpy")
    code = f"import sys, {package}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_are_listed_and_unknown_ones_refused():
    assert "TransRec" in dir(transrec_core.models)
    with pytest.raises(AttributeError, match="has no attribute 'TransWreck'"):
        _ = transrec_core.models.TransWreck
