"""LayerNorm tuning: trained copies of gain and bias."""

from __future__ import annotations

import torch
from torch import nn

from tests import tiny
from tests.adapters.helpers import with_fresh_adapter
from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.methods.layernorm import LayerNormTuning


def test_the_equation():
    """g * z + b with copies of g and b, z the normalised input; the frozen norm stays as it is."""
    norm = nn.LayerNorm(6)
    tiny.stir(norm)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    site = Site("path", norm, "norm", "item", 6, 1)
    adapter = LayerNormTuning.build(site, LayerNormTuning.Config())
    x = torch.randn(4, 6)
    assert torch.equal(adapter(x, norm(x)), norm(x))
    tiny.stir(adapter, seed=2)
    z = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    assert torch.allclose(adapter(x, norm(x)), adapter.module.weight * z + adapter.module.bias, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in norm.state_dict().items())


def test_it_sits_at_the_norms_and_nowhere_else():
    keys = with_fresh_adapter("layernorm", train_head=False).adapters["a"]
    assert len(keys) == 8 and all(key.lower().endswith("norm") for key in keys)
