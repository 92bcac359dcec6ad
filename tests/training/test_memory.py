"""Less memory, the same gradient: items in parts, and activations computed again."""

from __future__ import annotations

import contextlib

import pytest
import torch

from tests import tiny
from tests.training.deep import assert_close, batch_of, deep_model, gradients
from transrec_core.training.inputs import item_inputs
from transrec_core.training.memory import backward_in_parts, recompute_activations


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.BACKBONES)
@pytest.mark.parametrize("loss", ["batch", "catalogue", "bce"])
@pytest.mark.parametrize("method", [None, "houlsby", "k_adapter", "side"])
def test_parts_and_recomputed_activations_give_the_same_gradient(family, loss, method):
    model = deep_model(family, **({"method": method} if method else {})).train()
    domain = tiny.domain(tiny.MODALITY[family])
    batch = batch_of(domain, loss)
    features = item_inputs(model, domain.catalog, cache="off")
    whole = model(features(batch.items), batch)
    whole.backward()
    plain = gradients(model)
    parts = features(batch.items, 3)
    assert len(parts.features) == 3
    in_parts = backward_in_parts(model, parts, batch, contextlib.nullcontext())
    assert torch.allclose(in_parts, whole.detach(), atol=1e-5)
    assert_close(gradients(model), plain)
    recompute_activations(model, True)
    again = model(features(batch.items), batch)
    again.backward()
    assert torch.allclose(again.detach(), whole.detach(), atol=1e-5)
    assert_close(gradients(model), plain)


def test_parts_are_encoded_again_with_the_dropout_of_the_first_time():
    """The gradient is that of the loss that was computed: equal to one backward pass through the parts
    under the same random numbers.
    """
    model, domain = deep_model("bert", dropout=0.4).train(), tiny.domain("text")
    batch = batch_of(domain)
    parts = item_inputs(model, domain.catalog)(batch.items, 3)
    torch.manual_seed(0)
    plain = model(parts, batch)
    plain.backward()
    expected = gradients(model)
    torch.manual_seed(0)
    assert torch.allclose(
        backward_in_parts(model, parts, batch, contextlib.nullcontext()), plain.detach(), atol=1e-5
    )
    assert_close(gradients(model), expected)
