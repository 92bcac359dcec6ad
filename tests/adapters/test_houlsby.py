"""Houlsby: a bottleneck after both sublayers."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import with_fresh_adapter
from transrec_core.adapters.methods.houlsby import Houlsby, HoulsbyConfig


@pytest.mark.parametrize("form", ["serial", "parallel"])
def test_the_equation(form):
    """h + s (W_up f(W_down z + b_down) + b_up), where z is h (serial) or x (parallel)."""
    adapter = Houlsby(6, 3, HoulsbyConfig(scale=0.5, activation="tanh", form=form))
    tiny.stir(adapter)
    x, h = torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    z = h if form == "serial" else x
    inner = torch.tanh(z @ adapter.down.weight.T + adapter.down.bias)
    expected = h + 0.5 * (inner @ adapter.up.weight.T + adapter.up.bias)
    assert torch.allclose(adapter(x, h), expected, atol=1e-6)


def test_it_sits_after_the_attention_and_after_the_feed_forward_sublayer_of_each_layer():
    inside = {key for key in with_fresh_adapter("houlsby", encoders="item", train_head=False).adapters["a"]}
    layer = "item_encoder/backbone/encoder/layer"
    ends = ("attention/output/dense", "output/dense")
    assert inside == {f"{layer}/{number}/{end}" for number in (0, 1) for end in ends}
