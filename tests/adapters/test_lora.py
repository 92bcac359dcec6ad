"""LoRA: an update of low rank beside a frozen map."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import tiny
from tests.adapters.helpers import SMALL, families
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.methods.lora import LoRA
from transrec_core.adapters.methods.rslora import RsLoRA


@families("bert", "vit")
@pytest.mark.parametrize("method", ["lora", "rslora", "dora"])
def test_defect_lora_replaces_the_pretrained_projection(method, family):
    """The released code puts a fresh layer in place of query and value. Here the pretrained module is the
    same object with the same weights.
    """
    plain, model = tiny.model(family), tiny.model(family)
    before = {site.path: site.module for site in model.sites()}
    model.add_adapter("a", AdapterConfig(method=method, **SMALL))
    assert all(site.module is before[site.path] for site in model.sites())
    state = plain.state_dict()
    assert all(
        torch.equal(value, state[key])
        for key, value in model.state_dict().items()
        if not key.startswith("adapters.")
    )
    for encoder in ("item", "user"):
        assert any(
            key.startswith(f"{encoder}_encoder") and "projection" not in key for key in model.adapters["a"]
        )
    items = torch.randn(2, 5, 16)
    assert torch.equal(model.eval().encode_users(items), plain.eval().encode_users(items))


@pytest.mark.parametrize(("adapter_class", "scale"), [(LoRA, 6 / 4), (RsLoRA, 6 / 4**0.5)])
def test_the_equation(adapter_class, scale):
    """W x + s B A x, with s = alpha / r, and alpha / sqrt(r) for rsLoRA."""
    linear = nn.Linear(7, 5)
    adapter = adapter_class(linear, 4, adapter_class.Config(alpha=6))
    tiny.stir(adapter)
    x = torch.randn(3, 7)
    expected = x @ (linear.weight + scale * adapter.b @ adapter.a).T + linear.bias
    assert torch.allclose(adapter(x, linear(x)), expected, atol=1e-5)


def test_alpha_is_the_rank_unless_said():
    linear = nn.Linear(7, 5)
    assert LoRA(linear, 4, LoRA.Config()).scale == 1 and RsLoRA(linear, 4, RsLoRA.Config()).scale == 2
