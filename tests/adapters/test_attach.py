"""Adapters on modules that are no TransRec: a recommender of one's own, and bare encoders."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests import tiny
from tests.adapters.helpers import ALL, FAMILY, LINEAR, PROMPTS, SMALL, inputs
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.adapters.attach import attach
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


def recommender(family: str) -> Recommender:
    torch.manual_seed(0)
    return Recommender(fresh_backbone(tiny.BACKBONES[family], 0)).eval()


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
    assert not any("extend_keys" in vars(part) or part._forward_hooks for part in module.modules())
    with pytest.raises(UserError, match="no adapter 'default'"):
        host.set_adapter("default")
    assert torch.equal(scores(module, "bert"), scores(recommender("bert"), "bert"))
    attach(module.backbone, "houlsby")
