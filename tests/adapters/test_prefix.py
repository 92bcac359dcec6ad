"""Prefix: learned keys and values in each layer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tests import tiny
from tests.adapters.helpers import SMALL
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.methods.prefix import Prefix
from transrec_core.base.errors import UserError
from transrec_core.models import ModelSpec, TransRec, fresh_backbone


def test_prefix_works_beside_relative_positions_and_prompts_say_why_not():
    config = tiny.BACKBONES["beit"] | {"use_relative_position_bias": True}
    model = TransRec.from_backbone(fresh_backbone(config, 0), ModelSpec(dim=16), 0).eval()
    model.add_adapter("a", AdapterConfig(method="prefix", **SMALL))
    features = tiny.catalog("image").batch(torch.arange(1, 4))
    with torch.no_grad():
        prefixed = model.encode_items(features)
        with model.adapters_disabled():
            assert not torch.allclose(model.encode_items(features), prefixed)
    with pytest.raises(UserError, match="use method 'prefix'"):
        model.add_adapter("b", AdapterConfig(method="prompt", **SMALL))


@pytest.mark.parametrize("masked", [True, False])
def test_the_equation(masked):
    """Each query attends to [P_k; K] with values [P_v; V]; a prefix can always be read."""
    heads, width, n, tokens = 2, 6, 3, 5
    adapter = Prefix(n, width)
    tiny.stir(adapter)
    q, k, v = (torch.randn(1, heads, tokens, width // heads) for _ in range(3))
    mask = torch.ones(tokens, tokens, dtype=torch.bool).tril() if masked else None
    keys, values, wider = adapter(None, (k, v, mask))
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        all_keys = torch.cat([adapter.keys[:, part], k[0, head]])
        all_values = torch.cat([adapter.values[:, part], v[0, head]])
        logits = q[0, head] @ all_keys.T / (width // heads) ** 0.5
        if masked:
            logits = logits.masked_fill(~torch.cat([torch.ones(tokens, n, dtype=torch.bool), mask], 1), -1e9)
        mixed = F.scaled_dot_product_attention(q, keys, values, wider)[0, head]
        assert torch.allclose(mixed, logits.softmax(-1) @ all_values, atol=1e-5)
