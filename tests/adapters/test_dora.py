"""DoRA: direction and length of a weight apart."""

from __future__ import annotations

import torch
from torch import nn

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.methods.dora import DoRA


def test_doras_gradient_is_the_one_with_a_constant_norm():
    torch.manual_seed(0)
    linear = nn.Linear(6, 5).double()
    adapter = DoRA(linear, 3, AdapterConfig(method="dora")).double()
    tiny.stir(adapter)
    x = torch.randn(4, 6, dtype=torch.float64)
    norm = (linear.weight + adapter.update()).norm(dim=1).detach()

    def constant(a, b, magnitude):
        weight = (magnitude / norm)[:, None] * (linear.weight + adapter.scale * b @ a)
        return x @ weight.T + linear.bias

    parts = [adapter.a, adapter.b, adapter.magnitude]
    ours, explicit = adapter(x, linear(x)), constant(*parts)
    assert torch.allclose(ours, explicit)
    weights = torch.randn_like(ours)
    for first, second in zip(
        torch.autograd.grad(ours, parts, weights), torch.autograd.grad(explicit, parts, weights), strict=True
    ):
        assert torch.allclose(first, second)


def test_the_equation_and_the_start():
    """m / ||W + s B A|| * (W + s B A) x, which starts as W x."""
    linear = nn.Linear(6, 5)
    adapter = DoRA(linear, 3, AdapterConfig(method="dora", alpha=6))
    x = torch.randn(4, 6)
    assert torch.allclose(adapter(x, linear(x)), linear(x), atol=1e-6)
    tiny.stir(adapter)
    turned = linear.weight + 2 * adapter.b @ adapter.a
    expected = x @ (adapter.magnitude[:, None] * turned / turned.norm(dim=1, keepdim=True)).T + linear.bias
    assert torch.allclose(adapter(x, linear(x)), expected, atol=1e-5)
