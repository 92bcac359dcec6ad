"""Outputs of independent implementations with the same parameters."""

from __future__ import annotations

import pytest

from tests.goldens.compare import difference, names
from transrec_core.adapters import METHODS


@pytest.mark.parametrize("name", names())
def test_golden(name):
    """Equal outputs to 1e-5 with the parameters of an independent implementation, whose adapter does
    change the output.
    """
    off, effect = difference(name)
    assert off <= 1e-5 and effect > 0.1


def test_every_method_that_a_library_has_has_a_golden():
    elsewhere = {
        "houlsby",
        "pfeiffer",
        "parallel",
        "compacter",
        "prefix",
        "prompt",
        "lora",
        "rslora",
        "dora",
        "ia3",
    }
    assert {name.split("-")[1] for name in names()} == elsewhere <= set(METHODS)
