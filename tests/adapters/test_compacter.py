"""Compacter: bottlenecks of Kronecker products."""

from __future__ import annotations

import torch

from tests import tiny
from tests.adapters.helpers import families, with_fresh_adapter
from transrec_core.adapters.methods.compacter import Compacter, CompacterConfig


@families("bert", "vit")
def test_defect_compacter_has_no_skip_connection(family):
    """The released code's sublayers start near zero. Here what comes out of an adapted sublayer is what
    the sublayer computed.
    """
    model = with_fresh_adapter("compacter", family)
    for key, adapter in model.adapters["a"].items():
        if key != "shared" and "projection" not in key:
            y = torch.randn(3, 4, 16)
            assert torch.equal(adapter(None, y), y)
            adapter.requires_grad_(False)
            tiny.stir(adapter, std=1e-3)
            assert torch.allclose(adapter(None, y), y, atol=0.1)


def test_the_equation():
    """h + W_up^T f(W_down^T h + b_down) + b_up, with W = sum A_i (x) s_i t_i^T."""
    config = CompacterConfig(phm_dim=2, activation="tanh")
    adapter, shared = Compacter(6, 4, config), Compacter.build_shared(config)
    adapter.share(shared)
    tiny.stir(adapter)
    tiny.stir(shared)

    def weight(phm):
        return sum(torch.kron(shared.a[i], torch.outer(phm.s[i], phm.t[i])) for i in range(2))

    h = torch.randn(2, 5, 6)
    inner = torch.tanh(h @ weight(adapter.down) + adapter.down.bias)
    expected = h + inner @ weight(adapter.up) + adapter.up.bias
    assert torch.allclose(adapter(None, h), expected, atol=1e-5)


def test_one_rule_is_shared_by_all_sites():
    adapters = with_fresh_adapter("compacter").adapters["a"]
    rules = {id(adapter._shared[0]) for key, adapter in adapters.items() if hasattr(adapter, "_shared")}
    assert rules == {id(adapters["shared"])}
