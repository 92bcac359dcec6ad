"""(IA)3: vectors that multiply keys, values and inner activations."""

from __future__ import annotations

import torch
from torch import nn

from tests import tiny
from transrec_core.adapters.anatomy import Site
from transrec_core.adapters.methods.ia3 import IA3


def site(role: str, module: nn.Module, feeds: nn.Linear | None = None) -> Site:
    return Site("path", module, role, "item", 6, 1, feeds=feeds)


def test_the_equation_and_its_merged_form_on_keys():
    """k <- l * (W x + b), which is (l W) x + l b."""
    linear, adapter = nn.Linear(6, 5), IA3(5)
    tiny.stir(adapter)
    x = torch.randn(4, 6)
    expected = adapter.l * (x @ linear.weight.T + linear.bias)
    assert torch.allclose(adapter(x, linear(x)), expected, atol=1e-6)
    adapter.merge_into(site("key", linear))
    assert torch.allclose(linear(x), expected, atol=1e-6)


def test_the_equation_and_its_merged_form_on_inner_activations():
    """W_2 (l * f), which is (W_2 l) f: the vector folds into the map that reads the activations."""
    feeds, adapter = nn.Linear(8, 6), IA3(8)
    tiny.stir(adapter)
    activations = torch.randn(4, 8)
    expected = (adapter.l * activations) @ feeds.weight.T + feeds.bias
    assert torch.allclose(feeds(adapter(None, activations)), expected, atol=1e-6)
    adapter.merge_into(site("hidden", nn.GELU(), feeds))
    assert torch.allclose(feeds(activations), expected, atol=1e-6)
