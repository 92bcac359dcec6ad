"""Kept states are tried before they are used: an encoder that does more than its anatomy names still gets the
vectors of a whole forward pass.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import tiny
from tests.training.deep import deep_model
from transrec_core.models.item_encoder import ItemEncoder
from transrec_core.training.inputs import Content, LayerStates, PooledStates, item_inputs
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import fit
from transrec_core.training.trial import SAMPLE, Sample, why_not


def with_a_norm(backbone: nn.Module) -> None:
    """Between the embeddings and the layers, as in CLIP; it triples what it is given."""
    backbone.between = nn.LayerNorm(16).requires_grad_(False)
    nn.init.constant_(backbone.between.weight, 3.0)

    def normed(encoder, args, kwargs):
        return (backbone.between(args[0]), *args[1:]), kwargs

    backbone.encoder.register_forward_pre_hook(normed, with_kwargs=True)


def with_a_shortcut(backbone: nn.Module) -> None:
    """From the embeddings to the last layer."""
    embedded = []
    backbone.embeddings.register_forward_hook(lambda module, args, output: embedded.append(output))
    last = backbone.encoder.layer[-1]
    last.register_forward_pre_hook(lambda module, args: (args[0] + embedded[-1], *args[1:]))


def top_adapter(change=None):
    model = deep_model("bert", method="houlsby", layers=[2])
    if change is not None:
        change(model.item_encoder.backbone)
    return model


@pytest.mark.parametrize("change", [None, with_a_norm, with_a_shortcut])
def test_items_are_read_as_by_a_whole_forward_pass(change):
    model, catalog = top_adapter(change), tiny.catalog("text")
    assert torch.allclose(item_inputs(model, catalog).catalogue(), model.catalogue(catalog), atol=1e-5)


def test_states_that_do_not_hold_what_is_needed_are_refused_in_a_line(tmp_path):
    model, catalog = top_adapter(with_a_shortcut), tiny.catalog("text")
    inputs = item_inputs(model, catalog, tmp_path)
    assert type(inputs) is Content and "differ from those of a whole forward pass" in inputs.note
    assert inputs.note.startswith("states after the 2 bottom layers of 3 are not kept: ")
    assert "\n" not in inputs.note and not list(tmp_path.iterdir())
    unchecked = LayerStates(model, catalog, "fp32")  # what would have been used
    unchecked.keep(None)
    assert not torch.allclose(unchecked.catalogue(), model.catalogue(catalog), atol=0.01)


def test_training_goes_on_from_the_content():
    spec = TrainSpec(steps=4, min_steps=0, eval_every=2, batch_size=16)
    runs = [
        fit(top_adapter(with_a_shortcut), tiny.domain("text"), spec, show_progress=False, **fields)
        for fields in ({}, {"cache": "off"})
    ]
    assert runs[0].history == runs[1].history
    assert "are not kept" in runs[0].cached and runs[1].cached is None


def test_an_encoder_that_cannot_go_on_is_refused_and_left_as_it_was(monkeypatch):
    model, catalog = top_adapter().train(), tiny.catalog("text")
    modes = [module.training for module in model.modules()]

    def tuples(self, n, features):
        raise RuntimeError("expected a tensor\nand more")

    with monkeypatch.context() as patch:
        patch.setattr(ItemEncoder, "states_after", tuples)
        inputs = item_inputs(model, catalog)
    assert type(inputs) is Content and inputs.note.endswith("go on from them (expected a tensor)")
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("family", tiny.BACKBONES)
@pytest.mark.parametrize("cache", ["fp32", "fp16"])
def test_sound_states_pass_and_no_random_number_is_drawn(family, cache):
    model, catalog = (
        deep_model(family, dropout=0.3, method="houlsby", layers=[2]).train(),
        tiny.catalog(tiny.MODALITY[family]),
    )
    before = torch.get_rng_state()
    assert why_not(LayerStates, model, catalog, cache) is None
    model.disable_adapters()
    model.requires_grad_(False)
    assert why_not(PooledStates, model, catalog, cache) is None
    assert torch.equal(torch.get_rng_state(), before)


def test_the_sample_has_the_shortest_and_the_longest_title():
    catalog = tiny.catalog("text")
    catalog.lengths[[7, 30]] = 1, 8
    sample = Sample(catalog)
    assert sample.n_items == SAMPLE and sample.lengths[0] == catalog.lengths[0]
    assert {1, 8} <= set(sample.lengths[1:].tolist())
    items = torch.arange(1, SAMPLE + 1)
    ours, theirs = sample.batch(items), catalog.batch(torch.from_numpy(sample.numbers)[items])
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert Sample(tiny.catalog("image", items=3)).n_items == 3
