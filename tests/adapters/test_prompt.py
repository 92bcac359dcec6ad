"""Soft prompts: learned tokens before the input."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import with_fresh_adapter
from transrec_core.adapters.methods.prompt import Prompt


@pytest.mark.parametrize("n_tokens", [2, 8, 12])
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_defect_soft_prompt_cuts_the_title(method, n_tokens):
    """The released code cuts the first n tokens off the title. Here two titles that differ in any one
    token have different vectors.
    """
    model = with_fresh_adapter(method, item_size=n_tokens)
    features = tiny.catalog("text").batch(torch.arange(1, 5))
    with torch.no_grad():
        vectors = model.eval().encode_items(features)
        for place in range(int(features["attention_mask"][0].sum())):
            changed = features["input_ids"].clone()
            changed[0, place] = 5 + (changed[0, place] - 4) % 45
            other = model.encode_items(dict(features, input_ids=changed))
            assert not torch.allclose(vectors[0], other[0], atol=1e-7)
            assert torch.equal(vectors[1:], other[1:])


def test_the_equation():
    """[P; X] before the first layer."""
    adapter = Prompt(3, 6)
    x = torch.randn(2, 5, 6)
    expected = torch.stack([torch.cat([adapter.tokens, row]) for row in x])
    assert torch.equal(adapter(None, x), expected)


def test_prompts_leave_the_encoders_output_again():
    model = with_fresh_adapter("prompt", item_size=5)
    features = tiny.catalog("text").batch(torch.arange(1, 4))
    out = model.item_encoder.backbone(**features, output_hidden_states=True)
    length = features["input_ids"].shape[1]
    assert all(states.shape[1] == length for states in (out.last_hidden_state, *out.hidden_states))
