"""Pfeiffer: one bottleneck a layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests import tiny
from tests.adapters.helpers import with_fresh_adapter
from transrec_core.adapters.methods.pfeiffer import Pfeiffer, PfeifferConfig


def test_defect_pfeiffer_sits_after_the_attention():
    """The released script ships one adapter after the attention. Pfeiffer's is after the feed-forward
    sublayer; the other is a placement.
    """
    inside = [key for key in with_fresh_adapter("pfeiffer").adapters["a"] if "projection" not in key]
    assert inside and not any("attention" in key for key in inside)
    placed = [
        key
        for key in with_fresh_adapter("pfeiffer", position="attention").adapters["a"]
        if "projection" not in key
    ]
    assert placed and all("attention" in key for key in placed)


def test_the_equation():
    """h + W_up f(W_down h + b_down) + b_up."""
    adapter = Pfeiffer(6, 3, PfeifferConfig())
    tiny.stir(adapter)
    h = torch.randn(2, 5, 6)
    inner = F.gelu(h @ adapter.down.weight.T + adapter.down.bias)
    assert torch.allclose(adapter(None, h), h + inner @ adapter.up.weight.T + adapter.up.bias, atol=1e-6)
