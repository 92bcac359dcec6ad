"""The side network: nothing of it runs through the backbone."""

from __future__ import annotations

import torch

from tests import tiny
from tests.adapters.helpers import with_fresh_adapter
from transrec_core.adapters.methods.side import Side, SideConfig


def test_a_side_network_sends_no_gradient_through_the_backbone():
    model = with_fresh_adapter("side", encoders="item")
    model.train_adapter("a")
    assert model.backbone_is_fixed()
    seen = []
    model.item_encoder.readout.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].requires_grad)
    )
    catalog = tiny.catalog("text")
    model.encode_items(catalog.batch(torch.arange(1, 5))).sum().backward()
    assert seen == [False]
    cached = model.pooled_catalogue(catalog)
    assert cached.shape == (tiny.ITEMS + 1, 3, 16)
    with torch.no_grad():
        tiny.stir(model.adapters)
        direct = model.eval().encode_items(catalog.batch(torch.arange(1, 5)))
        assert torch.allclose(model.encode_items({"pooled": cached[1:5]}), direct, atol=1e-6)


def test_the_equation():
    """s_l = f(g_l s_{l-1} + (1 - g_l) (W_l h_l + b_l)), g_l = sigmoid(gamma_l), and y + W_up s_L + b_up."""
    adapter = Side(6, 3, [0, 1], SideConfig(activation="tanh"))
    tiny.stir(adapter)
    h, y = torch.randn(4, 3, 6), torch.randn(4, 6)  # embeddings and two layers, pooled
    s = torch.zeros(4, 3)
    for layer in (0, 1):
        gate = torch.sigmoid(adapter.gates[layer])
        down = adapter.down[layer]
        s = torch.tanh(gate * s + (1 - gate) * (h[:, layer + 1] @ down.weight.T + down.bias))
    assert torch.allclose(adapter(h, y), y + s @ adapter.up.weight.T + adapter.up.bias, atol=1e-6)
