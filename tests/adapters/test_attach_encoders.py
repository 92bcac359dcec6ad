"""Adapters on bare Hugging Face encoders: the same as in a TransRec, whatever way the encoder is called."""

from __future__ import annotations

import pytest
import torch
from transformers import BertForSequenceClassification, BertModel, ViTModel

from tests import tiny
from tests.adapters.helpers import ALL, EVERYWHERE, FAMILY, inputs
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.attach import attach
from transrec_core.adapters.peft_format import export_peft
from transrec_core.base.errors import UserError
from transrec_core.models import fresh_backbone


@pytest.mark.parametrize("method", ["lora", "houlsby", "k_adapter", "side", "prompt", "prefix"])
@EVERYWHERE
def test_on_an_item_encoder_it_is_what_transrec_does(method, family):
    """The same weights, once in a TransRec (first token pooled) and once on the bare encoder."""
    model = tiny.model(family, pooling="cls").eval()
    model.add_adapter("a", AdapterConfig(method=method, item_size=4, encoders="item", train_head=False))
    tiny.stir(model.adapters)
    bare = attach(tiny.model(family).item_encoder.backbone.eval(), encoders=None)
    bare.add_adapter("a", AdapterConfig(method=method, item_size=4, encoders="item"))
    state = model.adapters["a"].state_dict()
    short = {
        k.removeprefix("item_encoder/backbone/").removeprefix("item_encoder/"): v for k, v in state.items()
    }
    bare.adapters["a"].load_state_dict(short)
    features = tiny.catalog(tiny.MODALITY[family]).batch(torch.arange(1, 9))
    with torch.no_grad():
        vectors = model.item_encoder.projection(bare(**features).last_hidden_state[:, 0])
        assert torch.allclose(vectors, model.encode_items(features), atol=1e-6)


@ALL
@FAMILY
def test_what_the_encoder_hands_out_besides_is_that_of_its_last_states(method, family):
    """Its own pooler reads the adapted states; states of all layers come when they are asked for, only."""
    cls = BertModel if family == "bert" else ViTModel
    torch.manual_seed(0)
    encoder = cls(tiny.model(family).item_encoder.backbone.config).eval()
    host = attach(encoder, AdapterConfig(method=method, item_size=8))
    tiny.stir(host.adapters)
    features, _ = inputs(family)
    tokens = features["input_ids"].shape[1] if family == "bert" else 5
    with torch.no_grad():
        out, more = encoder(**features), encoder(**features, output_hidden_states=True)
        assert list(out.keys()) == ["last_hidden_state", "pooler_output"]
        assert out.last_hidden_state.shape[1] == tokens
        assert torch.equal(out.pooler_output, encoder.pooler(out.last_hidden_state))
        assert len(more.hidden_states) == 3 and all(s.shape[1] == tokens for s in more.hidden_states)
        assert torch.equal(more.last_hidden_state, out.last_hidden_state)


@pytest.mark.parametrize("method", ["prompt", "k_adapter"])
def test_a_mask_given_by_its_place_counts_as_one_given_by_name(method):
    host = attach(tiny.model("bert").item_encoder.backbone.eval(), AdapterConfig(method=method, item_size=4))
    tiny.stir(host.adapters)
    features, _ = inputs("bert")
    with torch.no_grad():
        named = host(**features).last_hidden_state
        assert torch.equal(host(features["input_ids"], features["attention_mask"]).last_hidden_state, named)
        with pytest.raises(UserError, match="without return_dict=False"):
            host(**features, return_dict=False)
        with pytest.raises(UserError, match="attention_mask has 4 dimensions"):
            host(features["input_ids"], features["attention_mask"][:, None, None])


@pytest.mark.parametrize("order", [["k_adapter", "side"], ["side", "k_adapter"]])
def test_prompts_and_what_reads_all_layers_stand_beside_each_other_in_any_order(order):
    """All three stacked: the padding mask and the states of the last two know nothing of prompt tokens."""
    encoder = tiny.model("bert").item_encoder.backbone.eval()
    host = attach(encoder)
    for method in [order[0], "prompt", order[1]]:
        host.add_adapter(method, AdapterConfig(method=method, item_size=4))
        tiny.stir(host.adapters[method], seed=("k_adapter", "prompt", "side").index(method))
    host.set_adapter([order[0], "prompt", order[1]])
    features, _ = inputs("bert")
    with torch.no_grad():
        stacked = host(**features).last_hidden_state
        mask = features["attention_mask"]
        changed = features["input_ids"] + (1 - mask)  # only padding is another
        again = host(changed, mask).last_hidden_state
    assert torch.allclose(stacked[mask.bool()], again[mask.bool()], atol=1e-6)
    reference = attach(tiny.model("bert").item_encoder.backbone.eval())
    for method in ("k_adapter", "side", "prompt"):
        reference.add_adapter(method, AdapterConfig(method=method, item_size=4))
        reference.adapters[method].load_state_dict(host.adapters[method].state_dict())
    reference.set_adapter(["prompt", "k_adapter", "side"])
    with torch.no_grad():
        assert torch.equal(reference(**features).last_hidden_state, stacked)


def test_an_encoder_with_a_head_of_its_own_is_adapted_inside():
    config = tiny.model("bert").item_encoder.backbone.config
    torch.manual_seed(0)
    classifier = BertForSequenceClassification(config).eval()
    features, _ = inputs("bert")
    with torch.no_grad():
        before = classifier(**features).logits
        host = attach(classifier, AdapterConfig(method="houlsby", item_size=4))
        assert torch.equal(classifier(**features).logits, before)
        assert all(key.startswith("bert/") for key in host.adapters["default"])
        tiny.stir(host.adapters)
        assert not torch.allclose(classifier(**features).logits, before)


def test_peft_reads_what_was_trained_on_a_bare_encoder(tmp_path):
    peft = pytest.importorskip("peft")
    host = attach(tiny.model("bert").item_encoder.backbone.eval(), AdapterConfig(method="lora", rank=3))
    tiny.stir(host.adapters)
    export_peft(host, "default", tmp_path)
    theirs = peft.PeftModel.from_pretrained(tiny.model("bert").item_encoder.backbone.eval(), tmp_path).eval()
    features, _ = inputs("bert")
    with torch.no_grad():
        assert (theirs(**features)[0] - host(**features)[0]).abs().max() <= 1e-6


@ALL
@pytest.mark.parametrize("masked", [True, False])
def test_law_4_in_an_encoder_that_reads_from_left_to_right(method, masked):
    """A user encoder by Hugging Face: no position reads a later one, and each reads all before it."""
    torch.manual_seed(0)
    encoder = fresh_backbone(tiny.BACKBONES["bert"] | {"is_decoder": True}, 0).eval()
    config = AdapterConfig(method=method, user_size=4, encoders="user")
    host = attach(encoder, config, encoders={"user": encoder})
    tiny.stir(host.adapters)
    ids = torch.randint(5, 40, (1, 8))
    fields = {"use_cache": False} | ({"attention_mask": torch.ones_like(ids)} if masked else {})
    with torch.no_grad():
        before = host(ids, **fields).last_hidden_state
        for place in range(8):
            changed = ids.clone()
            changed[:, place] = 41
            after = host(changed, **fields).last_hidden_state
            assert torch.allclose(before[:, :place], after[:, :place], atol=1e-6)
            moved = (before - after).abs().amax(-1)[0]
            assert (moved[place:] > 1e-6).all()
