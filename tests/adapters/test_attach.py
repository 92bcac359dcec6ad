"""Adapters on modules that are no TransRec: a recommender of one's own, and bare encoders."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import BertForSequenceClassification, BertModel, ViTModel

from tests import tiny
from tests.adapters.helpers import ALL, LINEAR, PROMPTS, SMALL
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.adapters.attach import attach
from transrec_core.adapters.peft_format import export_peft
from transrec_core.base.errors import UserError
from transrec_core.models import fresh_backbone


class Recommender(nn.Module):
    """A user's own: titles or pictures by any encoder, users by a GRU. Nothing in it knows of adapters."""

    def __init__(self, backbone: nn.Module, dim: int = 12) -> None:
        super().__init__()
        self.backbone = backbone
        self.project = nn.Linear(backbone.config.hidden_size, dim)
        self.users = nn.GRU(dim, dim, batch_first=True)

    def items(self, content: dict) -> torch.Tensor:
        states = self.backbone(**content).last_hidden_state
        mask = content.get("attention_mask", torch.ones(states.shape[:2])).unsqueeze(-1)
        return self.project((states * mask).sum(1) / mask.sum(1))

    def forward(self, content: dict, histories: torch.Tensor) -> torch.Tensor:
        """Scores of all items for each user."""
        items = self.items(content)
        return self.users(items[histories])[0][:, -1] @ items.T


FAMILY = pytest.mark.parametrize("family", ["bert", "vit"])


def recommender(family: str) -> Recommender:
    torch.manual_seed(0)
    return Recommender(fresh_backbone(tiny.BACKBONES[family], 0)).eval()


def inputs(family: str) -> tuple[dict, torch.Tensor]:
    content = tiny.catalog(tiny.MODALITY[family]).batch(torch.arange(1, 9))
    return content, torch.tensor([[0, 3, 2], [5, 1, 7], [4, 4, 6]])


def scores(module: nn.Module, family: str) -> torch.Tensor:
    with torch.no_grad():
        return module(*inputs(family))


def hosted(family: str, method: str, **fields):
    config = AdapterConfig(method=method, **(SMALL | fields))
    return attach(recommender(family), config, encoders={"item": "backbone"})


@ALL
@FAMILY
def test_law_1_training_leaves_the_module_bit_equal(method, family):
    host = hosted(family, method)
    before = {key: value.clone() for key, value in host.module.state_dict().items()}
    assert before.keys() == recommender(family).state_dict().keys()  # adapters live in the host
    start = {key: value.clone() for key, value in host.adapters.state_dict().items()}
    host.train_adapter("default")
    optimizer = torch.optim.Adam([p for p in host.parameters() if p.requires_grad], lr=0.01)
    content, histories = inputs(family)
    host.train()
    losses = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(host(content, histories), torch.tensor([1, 2, 3]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    after = host.module.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)
    moved = {k for k, v in host.adapters.state_dict().items() if not torch.equal(v, start[k])}
    assert moved == set(start)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in PROMPTS])
@FAMILY
def test_law_2_a_fresh_adapter_changes_nothing(method, family):
    assert torch.equal(scores(hosted(family, method), family), scores(recommender(family), family))


@ALL
@FAMILY
def test_law_3_exactly_the_declared_parameters_train(method, family):
    host = hosted(family, method)
    host.train_adapter("default")
    trained = {name for name, p in host.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in host.named_parameters() if name.startswith("adapters.default.")}
    config = host.adapter_configs["default"]
    declared = METHODS[method].count_shared(config) + METHODS[method].count(config, 16, 32, 8, layers=2)
    assert host.trainable_parameters()[0] == declared
    (status,) = host.adapter_status()
    assert status.parameters == declared and status.trained and set(status.sites) == {"item"}


@ALL
@FAMILY
def test_law_7_save_load_and_disable(method, family, tmp_path):
    host = hosted(family, method)
    tiny.stir(host.adapters)
    acting = scores(host, family)
    assert torch.equal(scores(host.module, family), acting)  # the module itself is called
    host.save_adapter(tmp_path, "default")
    assert "transrec_core.attach(MODULE" in (tmp_path / "README.md").read_text()
    again = attach(recommender(family), encoders={"item": "backbone"})
    assert not again.adapter_status()
    again.load_adapter(tmp_path, "shop")
    assert torch.equal(scores(again.module, family), acting)
    again.disable_adapters()
    plain = scores(recommender(family), family)
    assert torch.equal(scores(again, family), plain) and not torch.allclose(acting, plain)
    assert torch.equal(scores(again.detach(), family), plain)


@pytest.mark.parametrize("method", LINEAR)
@FAMILY
def test_law_7_merging_and_unmerging(method, family):
    host = hosted(family, method)
    tiny.stir(host.adapters)
    separate = scores(host, family)
    host.merge_adapter("default")
    assert (scores(host, family) - separate).abs().max() <= 1e-5 * max(1.0, float(separate.abs().max()))
    host.unmerge_adapter()
    assert torch.equal(scores(host, family), scores(recommender(family), family))


@ALL
@FAMILY
def test_law_5_padding_and_company_change_nothing(method, family):
    host = hosted(family, method)
    tiny.stir(host.adapters)
    content, _ = inputs(family)
    with torch.no_grad():
        together = host.module.items(content)
        for row in range(3):
            alone = {key: value[row : row + 1] for key, value in content.items()}
            if "attention_mask" in alone:
                length = int(alone["attention_mask"].sum())
                alone = {key: value[:, :length] for key, value in alone.items()}
            assert torch.allclose(host.module.items(alone), together[row : row + 1], atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "houlsby", "k_adapter", "side", "prompt", "prefix"])
@pytest.mark.parametrize(
    "family", [f if f in ("bert", "vit") else pytest.param(f, marks=pytest.mark.slow) for f in tiny.BACKBONES]
)
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
    """Its own pooler reads the adapted states, and states of all layers are handed out when asked for only."""
    cls = BertModel if family == "bert" else ViTModel
    torch.manual_seed(0)
    encoder = cls(tiny.model(family).item_encoder.backbone.config).eval()
    host = attach(encoder, AdapterConfig(method=method, item_size=8))
    tiny.stir(host.adapters)
    features, _ = inputs(family)
    tokens = features["input_ids"].shape[1] if family == "bert" else 5
    with torch.no_grad():
        out, more = encoder(**features), encoder(**features, output_hidden_states=True)
        assert (
            list(out.keys()) == ["last_hidden_state", "pooler_output"]
            and out.last_hidden_state.shape[1] == tokens
        )
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


def test_adapters_take_the_modules_mode_and_train_says_what_trains(capsys):
    module = recommender("bert")
    host = attach(module, AdapterConfig(method="houlsby", dropout=0.5), {"item": module.backbone}, train=True)
    assert (
        capsys.readouterr().out.startswith("adapter 'default': ") and not module.project.weight.requires_grad
    )
    tiny.stir(host.adapters)
    assert torch.equal(scores(module, "bert"), scores(module, "bert"))
    module.train()  # not the host
    assert not torch.equal(scores(module, "bert"), scores(module, "bert"))
    module.eval()
    host.add_adapter("b", AdapterConfig(method="houlsby", dropout=0.5))
    tiny.stir(host.adapters["b"])
    assert torch.equal(scores(module, "bert"), scores(module, "bert"))


def test_several_encoders_have_roles_and_sizes_of_their_own():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.titles, self.pictures, self.people = (
                fresh_backbone(tiny.BACKBONES[family], 0) for family in ("bert", "vit", "roberta")
            )

    host = attach(Two(), AdapterConfig(**SMALL), {"item": ["titles", "pictures"], "user": "people"})
    keys = set(host.adapters["default"])
    assert all(any(key.startswith(part) for key in keys) for part in ("titles/", "pictures/", "people/"))
    sizes = {key.split("/")[0]: a.down.out_features for key, a in host.adapters["default"].items()}
    assert sizes == {"titles": 8, "pictures": 8, "people": 4}
    assert host.adapter_status()[0].sites == {"item": 8, "user": 4}
    host.add_adapter("b", AdapterConfig(encoders="user"))
    assert all(key.startswith("people/") for key in host.adapters["b"])


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
def test_a_copied_module_has_adapters_of_its_own(method):
    host = hosted("bert", method)
    tiny.stir(host.adapters)
    before, twin = scores(host, "bert"), copy.deepcopy(host)
    tiny.stir(host.adapters, seed=3)
    assert torch.equal(scores(twin, "bert"), before) and not torch.allclose(scores(host, "bert"), before)
    assert torch.equal(scores(twin.detach(), "bert"), scores(recommender("bert"), "bert"))


def test_what_cannot_be_attached_is_refused_and_leaves_no_hook():
    module = recommender("bert")
    electra = fresh_backbone(tiny.BACKBONES["bert"] | {"model_type": "electra"}, 0)
    for call, message in (
        (
            lambda: attach(module, "houlsby"),
            r"Recommender is no .* encoders=\{'item': 'backbone'\} \(there are: 'bac",
        ),
        (lambda: attach(nn.Linear(2, 2), "houlsby"), "there are: none"),
        (lambda: attach(module, "houlsby", {"item": "backbon"}), "'backbon' is no part .*in it: backbone"),
        (
            lambda: attach(module, "houlsby", {"item": electra}),
            "a ElectraModel is no part of this Recommender",
        ),
        (lambda: attach(module, "houlsby", {"item": "project"}), "'project' is a Linear and no Hugging Face"),
        (lambda: attach(module, "houlsby", {"text": "backbone"}), "'text' is neither 'item' nor 'user'"),
        (lambda: attach(module, "houlsby", {}), "names no encoder"),
        (lambda: attach(module, "houlsby", {"item": ["backbone", module.backbone]}), "has a host"),
        (lambda: attach(module, "houlsbi", {"item": "backbone"}), "did you mean 'houlsby'"),
        (lambda: attach(module, {"encoders": "user"}, {"item": "backbone"}), "reaches no layer"),
        (lambda: attach(tiny.model("bert"), "houlsby"), "TransRec has adapters by itself"),
        (lambda: attach(electra, "houlsby"), "no anatomy for encoder type 'electra'"),
    ):
        with pytest.raises(UserError, match=message):
            call()
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_second_host_would_act_twice_and_is_refused_until_the_first_lets_go():
    module = recommender("bert")
    host = attach(module, AdapterConfig(method="prefix", item_size=4), {"item": "backbone"})
    for again in (module.backbone, copy.deepcopy(module).backbone):
        with pytest.raises(UserError, match=r"has a host with adapters already: use that one, or detach\(\)"):
            attach(again, "houlsby")
    host.detach()
    with pytest.raises(UserError, match="no adapter 'default'"):
        host.set_adapter("default")
    assert torch.equal(scores(module, "bert"), scores(recommender("bert"), "bert"))
    attach(module.backbone, "houlsby")
