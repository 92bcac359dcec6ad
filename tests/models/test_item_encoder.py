"""Item encoders of every family: kept states enter where they left; without an anatomy they train, too."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.anatomy import ANATOMY, Anatomy
from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batcher
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.training.inputs import Content, PooledStates, item_inputs
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import fit

#: What one would write for CLIP, which has a norm before its layers, ELECTRA, which has a linear map there,
#: and MPNet, whose layers return tuples.
ENTRIES = {
    "clip_vision_model": Anatomy(
        embeddings="embeddings",
        layers="encoder.layers",
        attend="self_attn",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        attention="self_attn.out_proj",
        expand="mlp.fc1",
        hidden="mlp.activation_fn",
        ffn="mlp.fc2",
        norms=("layer_norm1", "layer_norm2"),
    ),
    "electra": ANATOMY["bert"],
    "mpnet": Anatomy(
        embeddings="embeddings",
        layers="encoder.layer",
        attend="attention",
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        attention="attention.attn.o",
        expand="intermediate.dense",
        hidden="intermediate",
        ffn="output.dense",
        norms=("attention.LayerNorm", "output.LayerNorm"),
    ),
}
STRANGERS = pytest.mark.parametrize("family", [family for family in tiny.STRANGERS if family not in ANATOMY])


@pytest.fixture
def entries(monkeypatch):
    for family, entry in ENTRIES.items():
        monkeypatch.setitem(ANATOMY, family, entry)


def deep_model(family: str, dropout: float = 0.0) -> TransRec:
    """Three layers, with weights that are nowhere special."""
    layers = "n_layers" if family == "distilbert" else "num_hidden_layers"
    rates = ("dropout", "attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob")
    fields = (tiny.STRANGERS | tiny.BACKBONES)[family]
    fields = fields | {layers: 3} | {rate: dropout for rate in rates if rate in fields}
    model = TransRec.from_backbone(fresh_backbone(fields, 0), ModelSpec(dim=16, max_len=10, dropout=0.0), 0)
    tiny.stir(model.item_encoder.backbone, std=0.1)
    return model


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("family", [*tiny.BACKBONES, *ENTRIES])
def test_from_kept_states_the_output_has_the_same_bits(family, n, entries):
    encoder = deep_model(family).eval().item_encoder
    content = tiny.catalog(tiny.MODALITY[family]).batch(torch.arange(1, 9))
    mask = content.get("attention_mask")
    with torch.no_grad():
        states = encoder.states_after(n, content)
        kept = {"states": states, "below": n, **({} if mask is None else {"attention_mask": mask})}
        assert torch.equal(encoder.pooled(kept), encoder.pooled(content))
        assert not torch.equal(encoder.pooled(kept | {"states": states + 1}), encoder.pooled(content))
    assert not any("forward" in vars(module) for module in encoder.modules())


@pytest.mark.parametrize("family", ["bert", *ENTRIES])
@pytest.mark.parametrize("method", ["lora", "houlsby"])
def test_a_step_from_kept_states_is_the_same_step(family, method, entries):
    """With dropout above them: that a layer is tried once on a blank item draws no random number."""
    model = deep_model(family, dropout=0.3)
    model.add_adapter("a", AdapterConfig(method=method, layers="top-1", item_size=4, user_size=4))
    model.train_adapter("a")
    tiny.stir(model.adapters)
    domain = tiny.domain(tiny.MODALITY[family])
    batch = Batcher(domain.split.train, "sasrec", "batch", 32, 10, 0).batch(0)
    kept = item_inputs(model, domain.catalog)
    assert kept.below == 2
    outcomes = []
    for features in (domain.catalog.batch(batch.items), kept(batch.items)):
        torch.manual_seed(0)
        loss = model.train()(features, batch)
        loss.backward()
        gradients = [p.grad.clone() for p in model.adapters.parameters() if p.grad is not None]
        model.zero_grad()
        outcomes.append((loss.detach(), gradients))
    assert torch.allclose(outcomes[0][0], outcomes[1][0], atol=1e-5)
    for whole, from_kept in zip(outcomes[0][1], outcomes[1][1], strict=True):
        assert torch.allclose(whole, from_kept, atol=1e-5)
    assert torch.allclose(kept.catalogue(), model.catalogue(domain.catalog), atol=1e-5)


@STRANGERS
@pytest.mark.parametrize("strategy", ["full", "head"])
def test_without_an_anatomy_an_encoder_trains_as_a_whole_or_not_at_all(family, strategy):
    model, domain = tiny.model(family), tiny.domain(tiny.MODALITY[family])
    if strategy == "head":
        model.requires_grad_(False)
        model.item_encoder.projection.requires_grad_(True)
    assert model.item_encoder.layers() == [] and model.frozen_layers() == 0
    inputs = item_inputs(model, domain.catalog)
    assert type(inputs) is (PooledStates if strategy == "head" else Content)
    spec = TrainSpec(steps=2, min_steps=0, eval_every=1, batch_size=16)
    progress = fit(model.train(), domain, spec, 0, show_progress=False)
    assert progress.history[-1]["loss"] > 0


@STRANGERS
def test_without_an_anatomy_an_adapter_is_refused_with_the_entry_and_the_tree(family):
    model = tiny.model(family)
    with pytest.raises(UserError, match=f"no anatomy for encoder type '{family}'") as refused:
        model.add_adapter("a", AdapterConfig(method="houlsby"))
    assert f'"{family}": Anatomy(' in str(refused.value) and "(embeddings): " in str(refused.value)
    assert not model.adapters


def test_an_entry_that_does_not_fit_is_told_by_whatever_needs_it(monkeypatch):
    monkeypatch.setitem(ANATOMY, "mpnet", ENTRIES["clip_vision_model"])
    model = tiny.model("mpnet")
    for use in (model.item_encoder.layers, model.frozen_layers, model.sites, model.train):
        with pytest.raises(UserError, match="the anatomy of 'mpnet' does not fit this module"):
            use()
