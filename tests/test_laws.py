"""Laws 1-7 of adapters, for every method on text, picture and user encoders, with both objectives."""

from __future__ import annotations

import json

import pytest
import torch

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.errors import UserError
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.training import StepSizes, TrainSpec, fit

FAMILIES = ["bert", "roberta", "vit", "vit_mae"]
SMALL = {"item_size": 5, "user_size": 3}
ALL = pytest.mark.parametrize("method", METHODS)
EVERYWHERE = pytest.mark.parametrize("family", FAMILIES)
OBJECTIVES = pytest.mark.parametrize("objective", ["sasrec", "cpc"])


def scores(model: TransRec, family: str) -> torch.Tensor:
    """Scores of all items for a few users: everything that a user of the model can see."""
    model.eval()
    domain = tiny.domain(tiny.MODALITY[family])
    vectors = model.catalogue(domain.catalog)
    padded = torch.from_numpy(domain.interactions.padded(range(8), 10))
    with torch.no_grad():
        return model.encode_users(vectors[padded]) @ vectors.T


def with_adapter(family: str, method: str, objective: str = "sasrec", stirred: bool = True, **fields) -> TransRec:
    model = tiny.model(family, objective)
    model.add_adapter("a", AdapterConfig(method=method, **(SMALL | fields)))
    if stirred:
        tiny.stir(model.adapters)
    return model


@ALL
@EVERYWHERE
@OBJECTIVES
def test_law_1_training_an_adapter_leaves_the_base_bit_equal(method, family, objective):
    model = with_adapter(family, method, objective, stirred=False, train_layernorm=True)
    base = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("adapters.")}
    start = {k: v.clone() for k, v in model.adapters.state_dict().items()}
    model.train_adapter("a")
    spec = TrainSpec(steps=3, min_steps=0, eval_every=3, batch_size=16, lr=StepSizes(adapter=0.1, head=0.1))
    fit(model, tiny.domain(tiny.MODALITY[family]), spec, 0, show_progress=False)
    after = model.state_dict()
    assert all(torch.equal(base[k], after[k]) for k in base)
    model.train_adapter("a")
    loss_moves = [k for k, v in model.adapters.state_dict().items() if not torch.equal(v, start[k])]
    assert loss_moves or model.active_adapters  # the best state may be the start; the next test shows that gradients reach all


@ALL
@EVERYWHERE
def test_every_adapter_parameter_is_reached_by_the_loss(method, family):
    from transrec_core.data.batching import Batcher

    model, domain = with_adapter(family, method, train_layernorm=True), tiny.domain(tiny.MODALITY[family])
    model.train_adapter("a")
    batch = Batcher(domain.split.train, "sasrec", "catalogue", 32, 10, 0).batch(0)
    model(domain.catalog.batch(batch.items), batch).backward()
    dead = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not dead


@ALL
@EVERYWHERE
def test_law_2_a_fresh_adapter_changes_nothing(method, family):
    plain = scores(tiny.model(family), family)
    added = scores(with_adapter(family, method, stirred=False, train_layernorm=True), family)
    assert torch.equal(plain, added)


@ALL
@EVERYWHERE
def test_law_3_exactly_the_declared_parameters_train(method, family):
    model = with_adapter(family, method, train_head=False)
    model.train_adapter("a")
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in model.named_parameters() if n.startswith("adapters.a.")}
    bottleneck = lambda d, m: 2 * d * m + d + m  # noqa: E731
    per_layer = {
        "houlsby": 2 * (bottleneck(16, 5) + bottleneck(16, 3)),
        "pfeiffer": bottleneck(16, 5) + bottleneck(16, 3),
        "lora": 2 * (5 + 3) * (16 + 16),
    }
    if method in per_layer:
        assert model.trainable_parameters()[0] == 2 * per_layer[method]


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (AdapterConfig(method="houlsby", train_head=False), 2_387_776),
        (AdapterConfig(method="pfeiffer", position="attention", train_head=False), 1_193_888),
        (AdapterConfig(method="lora", train_head=False), 2_367_488),
    ],
)
def test_law_3_known_counts_on_bert_base(config, count):
    with torch.device("meta"):
        model = TransRec.from_backbone(fresh_backbone({"model_type": "bert"}), ModelSpec(), 0)
        pooler = 768 * 768 + 768
        assert sum(p.numel() for p in model.parameters()) + pooler == 109_632_320
        model.add_adapter("a", config)
    model.train_adapter("a")
    assert model.trainable_parameters()[0] == count


@ALL
@OBJECTIVES
def test_law_4_the_future_never_reaches_the_past(method, objective):
    model = with_adapter("bert", method, objective).train()  # in training mode too
    items = torch.randn(3, 10, 16)
    before = model.encode_users(items)
    for t in range(9):
        changed = items.clone()
        changed[:, t + 1 :] += torch.randn(3, 9 - t, 16)
        after = model.encode_users(changed)
        assert torch.allclose(before[:, : t + 1], after[:, : t + 1], atol=1e-5)
        assert not torch.allclose(before[:, t + 1], after[:, t + 1], atol=1e-3)


@ALL
@EVERYWHERE
def test_law_5_padding_and_blocks_change_no_score(method, family):
    model, domain = with_adapter(family, method).eval(), tiny.domain(tiny.MODALITY[family])
    whole, single = model.catalogue(domain.catalog), model.catalogue(domain.catalog, block=1)
    assert torch.allclose(whole, single, atol=1e-5)
    padded = torch.from_numpy(domain.interactions.padded(range(20), 10))
    with torch.no_grad():
        together = model.encode_users(whole[padded])
        for row, sequence in enumerate(padded):
            n = int((sequence > 0).sum())
            alone = model.encode_users(whole[sequence[None, :n]])
            assert torch.allclose(together[row, :n], alone[0], atol=1e-5)


@EVERYWHERE
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_law_6_every_token_and_patch_reaches_the_item_vector(family, pooling):
    model = tiny.model(family, pooling=pooling).eval()
    catalog = tiny.catalog(tiny.MODALITY[family])
    features = catalog.batch(torch.tensor([1]))
    with torch.no_grad():
        before = model.encode_items(features)
        if tiny.MODALITY[family] == "text":
            for place in range(features["input_ids"].shape[1]):
                changed = dict(features, input_ids=features["input_ids"].clone())
                changed["input_ids"][0, place] = 5 + (changed["input_ids"][0, place] - 4) % 45
                assert not torch.allclose(before, model.encode_items(changed), atol=1e-7)
        else:
            for row in (0, 8):
                for column in (0, 8):
                    changed = {"pixel_values": features["pixel_values"].clone()}
                    changed["pixel_values"][..., row : row + 8, column : column + 8] += 1
                    assert not torch.allclose(before, model.encode_items(changed), atol=1e-7)


@ALL
@EVERYWHERE
def test_law_7_save_and_load_give_the_same_bits(method, family, tmp_path):
    model = with_adapter(family, method, train_layernorm=True)
    model.save_adapter(tmp_path, "a")
    other = tiny.model(family)
    other.load_adapter(tmp_path, "b")
    assert torch.equal(scores(model, family), scores(other, family))
    assert other.adapter_configs["b"] == model.adapter_configs["a"]


@ALL
@EVERYWHERE
def test_law_7_disabling_gives_the_base_back(method, family):
    model = with_adapter(family, method)
    stirred = scores(model, family)
    with model.adapters_disabled():
        assert torch.equal(scores(model, family), scores(tiny.model(family), family))
    assert torch.equal(scores(model, family), stirred)
    assert not torch.allclose(stirred, scores(tiny.model(family), family))


@EVERYWHERE
def test_law_7_merging_lora_gives_the_same_scores_and_unmerging_the_base(family):
    model = with_adapter(family, "lora", alpha=10)
    separate = scores(model, family)
    model.merge_adapter("a")
    merged = scores(model, family)
    assert (separate - merged).abs().max() <= 1e-5 * max(1.0, float(separate.abs().max()))
    model.unmerge_adapter()
    assert torch.equal(scores(model, family), scores(tiny.model(family), family))


def test_merging_a_bottleneck_is_refused_and_changes_nothing():
    model = with_adapter("bert", "houlsby")
    with pytest.raises(UserError, match="not linear"):
        model.merge_adapter("a")
    model.disable_adapters()
    assert torch.equal(scores(model, "bert"), scores(tiny.model("bert"), "bert"))


def test_adapters_are_switched_by_name_on_one_backbone():
    model = with_adapter("bert", "houlsby")
    alone = scores(model, "bert")
    model.add_adapter("b", AdapterConfig(method="lora", **SMALL))
    tiny.stir(model.adapters["b"], seed=2)
    second = scores(model, "bert")
    model.set_adapter("a")
    assert torch.equal(scores(model, "bert"), alone) and not torch.allclose(alone, second)
    model.delete_adapter("a")
    model.set_adapter("b")
    assert torch.equal(scores(model, "bert"), second)


@pytest.mark.parametrize(
    ("fields", "layers"),
    [({"layers": "top-1"}, {1}), ({"layers": [0]}, {0}), ({"layers": [-1]}, {1}), ({"layers": "all"}, {0, 1})],
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
    with pytest.raises(UserError, match="set 'targets'"):
        with_adapter("bert", "lora", position="ffn")
    model = with_adapter("bert", "houlsby")
    for call in (lambda: model.set_adapter("c"), lambda: model.delete_adapter("c"), lambda: model.train_adapter("c")):
        with pytest.raises(UserError, match="no adapter 'c'"):
            call()


def test_damaged_adapter_folders_are_refused_and_the_model_kept(tmp_path):
    model = with_adapter("bert", "houlsby")
    before = scores(model, "bert")
    with pytest.raises(UserError, match="not found"):
        model.load_adapter(tmp_path, "b")
    model.save_adapter(tmp_path, "a")
    weights = (tmp_path / "adapter_model.safetensors").read_bytes()
    (tmp_path / "adapter_model.safetensors").write_bytes(weights[:-7])
    with pytest.raises(UserError, match="damaged"):
        model.load_adapter(tmp_path, "b")
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    config = json.loads((tmp_path / "adapter_config.json").read_text()) | {"item_size": 6}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not fit"):
        model.load_adapter(tmp_path, "b")
    assert torch.equal(scores(model, "bert"), before) and set(model.adapters) == {"a"}


def test_an_unknown_backbone_gets_its_module_tree():
    model = TransRec.from_backbone(fresh_backbone(tiny.BACKBONES["bert"] | {"model_type": "electra"}), ModelSpec(dim=16), 0)
    with pytest.raises(UserError, match=r"(?s)no anatomy for encoder type 'electra'.*anatomy.py.*ModuleList"):
        model.add_adapter("a", AdapterConfig())
