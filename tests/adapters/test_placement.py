"""Placement is configuration: encoders, layers, positions, and copies of norms and embeddings."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import EVERYWHERE, PROMPTS, SMALL, families, scores, with_adapter
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batcher
from transrec_core.models import ModelSpec, TransRec, fresh_backbone

PLACEMENTS: list[dict] = [
    {"layers": [-1]},
    {"train_layernorm": True, "train_head": False},
    {"encoders": "item"},
    {"encoders": "user"},
    {"layers": "top-1"},
    {"position": "attention"},
    {"position": "ffn"},
    {"position": "both"},
    {"form": "parallel"},
]


def cells() -> list:
    """Every method at every placement that it has; the first two of each stand for the others in a hurry."""
    out = []
    for method, cls in METHODS.items():
        fit = [p for p in PLACEMENTS if set(p) & {"position", "form"} <= set(cls.Config.model_fields)]
        out += [(method, placement) for placement in fit[:2]]
        out += [pytest.param(method, placement, marks=pytest.mark.slow) for placement in fit[2:]]
    return out


@pytest.mark.parametrize(("method", "placement"), cells())
@families("bert")
def test_laws_2_3_4_and_7_hold_at_every_placement(method, family, placement, tmp_path):
    model, base = tiny.model(family), scores(tiny.model(family), family)
    config = AdapterConfig(method=method, **(SMALL | placement))
    model.add_adapter("a", config)
    assert method in PROMPTS or torch.equal(scores(model, family), base)
    model.train_adapter("a")
    paths = {key.replace("/", ".") for key in model.adapters["a"]}
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        n for n, _ in model.named_parameters() if ".a." in n
    }
    for encoder in ("item", "user"):
        inside = any(path.startswith(f"{encoder}_encoder") and "projection" not in path for path in paths)
        assert inside == (config.encoders in (encoder, "both"))
    tiny.stir(model.adapters)
    model.save_adapter(tmp_path, "a")
    again = tiny.model(family)
    again.load_adapter(tmp_path, "b")
    assert torch.equal(scores(model, family), scores(again, family))
    items = torch.randn(2, 6, 16)
    changed = items.clone()
    changed[:, 4:] += 1
    with torch.no_grad():
        assert torch.allclose(model.encode_users(items)[:, :4], model.encode_users(changed)[:, :4], atol=1e-5)
    model.disable_adapters()
    assert torch.equal(scores(model, family), base)


@pytest.mark.parametrize("method", ["houlsby", "side"])
@EVERYWHERE
def test_laws_1_2_3_and_7_hold_for_trained_embeddings(method, family, tmp_path):
    """Exactly a copy of the word table, or of the patch projection, trains as well; the pretrained one
    stays.
    """
    fields = {"train_embeddings": True, "encoders": "item"}
    plain, model = (
        with_adapter(family, method, encoders="item"),
        with_adapter(family, method, stirred=False, **fields),
    )
    table = (
        50 * 16 if tiny.MODALITY[family] == "text" else 16 * 3 * 8 * 8 + 16
    )  # words by width; width by colours by patch, and a bias
    for each in (plain, model):
        each.train_adapter("a")
    assert model.trainable_parameters()[0] - plain.trainable_parameters()[0] == table
    assert torch.equal(scores(model, family), scores(tiny.model(family), family))
    assert not model.backbone_is_fixed()  # states computed once would be those of the old embeddings
    base = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("adapters.")}
    start = {k: v.clone() for k, v in model.adapters.state_dict().items()}
    domain = tiny.domain(tiny.MODALITY[family])
    batch = Batcher(domain.split.train, "sasrec", "catalogue", 32, 10, 0).batch(0)
    model(domain.catalog.batch(batch.items), batch).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    assert all(torch.equal(model.state_dict()[k], v) for k, v in base.items())
    moved = {k for k, v in model.adapters.state_dict().items() if not torch.equal(v, start[k])}
    assert any("embeddings" in k for k in moved), moved
    trained = scores(model, family)
    model.save_adapter(tmp_path, "a")
    again = tiny.model(family)
    again.load_adapter(tmp_path, "a")
    assert torch.equal(scores(again, family), trained)


@pytest.mark.parametrize(
    ("fields", "layers"),
    [
        ({"layers": "top-1"}, {1}),
        ({"layers": [0]}, {0}),
        ({"layers": [-1]}, {1}),
        ({"layers": "all"}, {0, 1}),
    ],
)
def test_layers_are_placement(fields, layers):
    model = with_adapter("bert", "houlsby", encoders="item", train_head=False, **fields)
    found = {int(key.split("encoder/layer/")[1].split("/")[0]) for key in model.adapters["a"]}
    assert found == layers
    assert not any(key.startswith("user_encoder") for key in model.adapters["a"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "hulsby"}, "houlsby"),
        ({"item_sise": 3}, "item_size"),
        ({"layers": "bottom-1"}, "top-K"),
        ({"item_size": 0}, "greater than or equal to 1"),
        ({"method": "lora", "position": "ffn"}, "lora has no 'position'.*targets"),
        ({"method": "ia3", "form": "parallel"}, "ia3 has no 'form'"),
    ],
)
def test_bad_configurations_are_refused_with_the_way_out(fields, message):
    with pytest.raises((ValueError, UserError), match=message):
        AdapterConfig(**fields)


def test_misplaced_adapters_are_refused():
    with pytest.raises(UserError, match="layer 7 does not exist"):
        with_adapter("bert", "houlsby", layers=[7])
    with pytest.raises(UserError, match="rank 17"):
        with_adapter("bert", "lora", item_size=17)
    with pytest.raises(UserError, match="phm_dim=4"):
        with_adapter("bert", "compacter", item_size=6)
    model = with_adapter("bert", "houlsby")
    for call in (
        lambda: model.set_adapter("c"),
        lambda: model.delete_adapter("c"),
        lambda: model.train_adapter("c"),
    ):
        with pytest.raises(UserError, match="no adapter 'c'"):
            call()


def test_an_unknown_backbone_gets_its_module_tree():
    model = TransRec.from_backbone(
        fresh_backbone(tiny.BACKBONES["bert"] | {"model_type": "electra"}), ModelSpec(dim=16), 0
    )
    with pytest.raises(
        UserError,
        match=r"(?s)no anatomy for encoder type 'electra'.*anatomy.py.*"
        r"\"electra\": Anatomy\(embeddings=.*ModuleList",
    ):
        model.add_adapter("a", AdapterConfig())
