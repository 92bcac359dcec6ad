"""Parallel: a bottleneck that reads what its sublayer reads."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import families, with_fresh_adapter


@pytest.mark.parametrize("position", ["attention", "ffn"])
@families("bert", "vit")
def test_defect_parallel_adapter_adds_its_input_twice(position, family):
    """The released block adds its input, then the residual adds it again. Here the correction is the
    bottleneck's alone.
    """
    model = with_fresh_adapter("parallel", family, position=position)
    for key, adapter in model.adapters["a"].items():
        if "projection" not in key:
            x, y = torch.randn(3, 4, 16), torch.randn(3, 4, 16)
            assert torch.equal(adapter(x, y), y)  # at the start the input x adds nothing
            tiny.stir(adapter)
            bottleneck = adapter.up(adapter.activation(adapter.down(x)))
            assert torch.allclose(adapter(x, y), y + adapter.scale * bottleneck, atol=1e-6)
