"""K-Adapter: transformers beside the backbone."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import with_fresh_adapter
from transrec_core.adapters.base import Trace
from transrec_core.adapters.methods.k_adapter import KAdapter


@pytest.mark.parametrize("training", [True, False])
def test_defect_k_adapter_looks_into_the_future(training):
    """The released code gives the adapter's transformers no mask. Here position t has no gradient from
    later items, in training too.
    """
    model = with_fresh_adapter("k_adapter", encoders="user")
    tiny.stir(model.adapters)
    model.train(training)
    items = torch.randn(2, 8, 16, requires_grad=True)
    users = model.encode_users(items)
    for t in range(7):
        (gradient,) = torch.autograd.grad(users[:, t].sum(), items, retain_graph=True)
        assert not gradient[:, t + 1 :].any() and gradient[:, t].any()


def test_defect_k_adapter_reads_padding():
    """... nor does a title's adapter read its padding."""
    adapter = with_fresh_adapter("k_adapter").adapters["a"]["item_encoder/states"]
    tiny.stir(adapter)
    states = tuple(torch.randn(2, 6, 16) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])
    changed = tuple(state.clone() for state in states)
    for state in changed:
        state[0, 4:] += 1
    before, after = (adapter(Trace(found, found[-1], mask, False), states[-1]) for found in (states, changed))
    assert torch.allclose(before[0, :4], after[0, :4], atol=1e-6)


def test_the_equation():
    """s_j = u_j + W_up T(T(W_down u_j)) with u_j = h_{l_j} + s_{j-1}, and y + W [y; s_last] + b."""
    adapter = KAdapter(6, 4, [0, 2]).eval()
    tiny.stir(adapter)
    states = tuple(torch.randn(2, 5, 6) for _ in range(4))  # embeddings and three layers
    y, s = torch.randn(2, 5, 6), torch.zeros(2, 5, 6)
    for layer, beside in zip((0, 2), adapter.beside, strict=True):
        u = states[layer + 1] + s
        z = u @ beside.down.weight.T + beside.down.bias
        for small in beside.layers:
            z = small(z, None, False)
        s = u + z @ beside.up.weight.T + beside.up.bias
    expected = y + torch.cat([y, s], -1) @ adapter.mix.weight.T + adapter.mix.bias
    assert torch.allclose(adapter(Trace(states, states[-1], None, False), y), expected, atol=1e-5)
