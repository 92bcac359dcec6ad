"""VeRA beside PEFT's, with the same frozen matrices."""

from __future__ import annotations

import copy

import peft
import pytest
import torch

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.methods.vera import projection


@pytest.mark.parametrize("family", ["bert", "vit"])
def test_vera_is_pefts_vera(family):
    model = tiny.model(family).eval()
    backbone = copy.deepcopy(model.item_encoder.backbone)
    model.add_adapter("a", AdapterConfig(method="vera", encoders="item", item_size=8, train_head=False))
    targets = {"bert": ["query", "value"], "vit": ["q_proj", "v_proj"]}[family]
    other = peft.get_peft_model(backbone, peft.VeraConfig(r=8, target_modules=targets, d_initial=0.1)).eval()
    shared = other.base_model
    shared.vera_A["default"].copy_(projection(8, 16, 0))
    shared.vera_B["default"].copy_(projection(16, 8, 1))
    generator = torch.Generator().manual_seed(3)
    theirs = [p for n, p in other.named_parameters() if "vera_lambda" in n]
    ours = [p for group in (model.adapters["a"],) for n, p in group.named_parameters()]
    assert len(theirs) == len(ours) == 8
    by_name = dict(other.named_parameters())
    for path, adapter in model.adapters["a"].items():
        place = path.replace("/", ".").removeprefix("item_encoder.backbone.")
        for own, name in (("d", "vera_lambda_d"), ("b", "vera_lambda_b")):
            values = torch.randn(getattr(adapter, own).shape, generator=generator)
            getattr(adapter, own).data.copy_(values)
            by_name[f"base_model.model.{place}.{name}.default"].data.copy_(values)
    features = tiny.catalog(tiny.MODALITY[family]).batch(torch.arange(1, 9))
    with torch.no_grad():
        one = model.item_encoder.backbone(**features).last_hidden_state
        two = other(**features).last_hidden_state
    assert torch.allclose(one, two, atol=1e-6)
    with model.adapters_disabled(), torch.no_grad():
        assert not torch.allclose(one, model.item_encoder.backbone(**features).last_hidden_state, atol=1e-3)
