"""BitFit: a vector for every bias."""

from __future__ import annotations

import torch
from torch import nn

from tests import tiny
from tests.adapters.helpers import SMALL, scores, with_adapter
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.methods.bitfit import BitFit


def test_averaged_biases_are_the_mean_bias():
    model = with_adapter("bert", "bitfit", train_head=False)
    model.add_adapter("b", AdapterConfig(method="bitfit", train_head=False, **SMALL))
    tiny.stir(model.adapters["b"], seed=5)
    model.set_adapter(["a", "b"], combine="average")
    averaged = scores(model, "bert")
    with torch.no_grad():
        for p, q in zip(model.adapters["a"].parameters(), model.adapters["b"].parameters(), strict=True):
            p.copy_((p + q) / 2)
    model.set_adapter("a")
    assert torch.allclose(scores(model, "bert"), averaged, atol=1e-5)


def test_the_equation():
    """W x + b + c."""
    linear, adapter = nn.Linear(4, 3), BitFit(3)
    tiny.stir(adapter)
    x = torch.randn(5, 4)
    assert torch.allclose(adapter(x, linear(x)), x @ linear.weight.T + (linear.bias + adapter.c), atol=1e-6)


def test_modules_without_a_bias_get_none():
    keys = with_adapter("bert", "bitfit", encoders="user", train_head=False).adapters["a"]
    assert not any("attention/" in key for key in keys) and any("ffn" in key for key in keys)
