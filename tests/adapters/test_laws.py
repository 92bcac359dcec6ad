"""Laws 1-7 of adapters, for every method on text, picture and user encoders, with both objectives."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.training.spec import StepSizes, TrainSpec
from transrec_core.training.trainer import fit

SMALL = {"item_size": 8, "user_size": 4, "encoders": "both"}
PROMPTS = {
    m for m, cls in METHODS.items() if not cls.identity_at_start
}  # they alone change outputs from the start
LINEAR = [m for m, cls in METHODS.items() if cls.merges]
ALL = pytest.mark.parametrize("method", METHODS)
EVERYWHERE = pytest.mark.parametrize("family", tiny.BACKBONES)
OBJECTIVES = pytest.mark.parametrize("objective", ["sasrec", "cpc"])


def scores(model: TransRec, family: str) -> torch.Tensor:
    """Scores of all items for a few users: everything that a user of the model can see."""
    model.eval()
    domain = tiny.domain(tiny.MODALITY[family])
    vectors = model.catalogue(domain.catalog)
    padded = torch.from_numpy(domain.interactions.padded(range(8), 10))
    with torch.no_grad():
        return model.encode_users(vectors[padded]) @ vectors.T


def with_adapter(
    family: str, method: str, objective: str = "sasrec", stirred: bool = True, **fields
) -> TransRec:
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
    assert (
        loss_moves or model.active_adapters
    )  # the best state may be the start; the next test shows that gradients reach all


@ALL
@EVERYWHERE
def test_every_adapter_parameter_is_reached_by_the_loss(method, family):
    from transrec_core.data.batching import Batcher

    model, domain = with_adapter(family, method, train_layernorm=True), tiny.domain(tiny.MODALITY[family])
    model.train_adapter("a")
    batch = Batcher(domain.split.train, "sasrec", "catalogue", 32, 10, 0).batch(0)
    model(domain.catalog.batch(batch.items), batch).backward()
    dead = [
        n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not dead


@pytest.mark.parametrize("method", [m for m in METHODS if m not in PROMPTS])
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
    config = model.adapter_configs["a"]
    declared = METHODS[method].count_shared(config)
    declared += sum(
        METHODS[method].count(config, 16, inner, size, layers=2) for inner, size in ((32, 8), (64, 4))
    )
    if method == "bitfit":  # the attention of SASRec has no biases, nor have BEiT's keys
        declared -= 2 * (4 * 16) + 2 * 16 * (family == "beit")
    assert model.trainable_parameters()[0] == declared


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (AdapterConfig(method="houlsby", train_head=False), 2_387_776),
        (AdapterConfig(method="pfeiffer", position="attention", train_head=False), 1_193_888),
        (AdapterConfig(method="lora", train_head=False), 2_367_488),
        (AdapterConfig(method="k_adapter", train_head=False), 3_573_920),
        (AdapterConfig(method="compacter", train_head=False), 60_928),
        (AdapterConfig(method="prompt", train_head=False), 23_040),
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
@pytest.mark.parametrize("training", [True, False])
def test_law_4_the_future_never_reaches_the_past(method, objective, training):
    model = with_adapter("bert", method, objective).train(training)
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


@pytest.mark.parametrize("method", [None, *METHODS])
@EVERYWHERE
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_law_6_every_token_and_patch_reaches_the_item_vector(method, family, pooling):
    model = tiny.model(family, pooling=pooling).eval()
    if method:
        model.add_adapter("a", AdapterConfig(method=method, **SMALL))
        tiny.stir(model.adapters)
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


@pytest.mark.parametrize("method", LINEAR)
@EVERYWHERE
def test_law_7_merging_gives_the_same_scores_and_unmerging_the_base(method, family):
    model = with_adapter(family, method, **({"alpha": 2} if method in ("lora", "rslora", "dora") else {}))
    separate = scores(model, family)
    model.merge_adapter("a")
    merged = scores(model, family)
    assert (separate - merged).abs().max() <= 1e-5 * max(1.0, float(separate.abs().max()))
    model.unmerge_adapter()
    assert torch.equal(scores(model, family), scores(tiny.model(family), family))


@pytest.mark.parametrize("method", [m for m in METHODS if m not in LINEAR])
def test_merging_what_is_not_linear_is_refused_and_changes_nothing(method):
    model = with_adapter("bert", method)
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


@ALL
@EVERYWHERE
def test_a_copied_model_has_adapters_of_its_own(method, family):
    model = with_adapter(family, method)
    before, twin = scores(model, family), copy.deepcopy(model)
    assert torch.equal(scores(twin, family), before)
    tiny.stir(model.adapters, seed=3)
    assert torch.equal(scores(twin, family), before) and not torch.allclose(scores(model, family), before)
    twin.delete_adapter("a")
    assert torch.equal(scores(twin, family), scores(tiny.model(family), family))


@pytest.mark.parametrize("first", METHODS)
@pytest.mark.parametrize("family", ["bert", "vit"])
def test_stacked_adapters_act_one_after_the_other(first, family):
    """Stacking with an adapter of another method that does nothing yet, in either order, equals the first
    alone.
    """
    model = with_adapter(family, first)
    alone = scores(model, family)
    model.add_adapter("b", AdapterConfig(method="houlsby", train_head=False, **SMALL))
    for order in (["a", "b"], ["b", "a"]):
        model.set_adapter(order)
        assert torch.equal(scores(model, family), alone)
    tiny.stir(model.adapters["b"], seed=2)
    assert not torch.allclose(scores(model, family), alone)


@pytest.mark.parametrize("method", [m for m in METHODS if m not in PROMPTS])
def test_averaged_adapters_give_the_mean(method):
    """The mean of an adapter with itself is itself; with linear maps on one site, the outputs' mean is
    that of the weights.
    """
    model = with_adapter("bert", method)
    alone = scores(model, "bert")
    model.add_adapter("b", AdapterConfig(method=method, **SMALL))
    model.adapters["b"].load_state_dict(model.adapters["a"].state_dict())
    model.set_adapter(["a", "b"], combine="average")
    assert torch.allclose(scores(model, "bert"), alone, atol=1e-4, rtol=1e-4)
    tiny.stir(model.adapters["b"], seed=5)
    model.set_adapter("b")
    other = scores(model, "bert")
    model.set_adapter(["b", "a"], combine="average")
    mixed = scores(model, "bert")
    assert not torch.allclose(mixed, alone) and not torch.allclose(mixed, other)


def test_averaged_biases_are_the_mean_bias():
    model = with_adapter("bert", "bitfit", train_head=False)
    model.add_adapter("b", AdapterConfig(method="bitfit", train_head=False, **SMALL))
    tiny.stir(model.adapters["b"], seed=5)
    model.set_adapter(["a", "b"], combine="average")
    averaged = scores(model, "bert")
    with torch.no_grad():
        for p, q in zip(model.adapters["a"].parameters(), model.adapters["b"].parameters(), strict=True):
            p.copy_((p + q) / 2)
    model.set_adapter("a")
    assert torch.allclose(scores(model, "bert"), averaged, atol=1e-5)


def test_soft_prompts_are_not_averaged():
    model = with_adapter("bert", "prompt")
    model.add_adapter("b", AdapterConfig(method="prefix", **SMALL))
    model.set_adapter(["a", "b"])
    with pytest.raises(UserError, match="no mean to take"):
        model.set_adapter(["a", "b"], combine="average")
    assert model.combine == "stack"


PLACEMENTS: list[dict] = [
    {"encoders": "item"},
    {"encoders": "user"},
    {"layers": [-1]},
    {"layers": "top-1"},
    {"train_layernorm": True, "train_head": False},
    {"position": "attention"},
    {"position": "ffn"},
    {"position": "both"},
    {"form": "parallel"},
]


@pytest.mark.parametrize(
    ("method", "placement"),
    [
        (m, p)
        for m, cls in METHODS.items()
        for p in PLACEMENTS
        if set(p) & {"position", "form"} <= set(cls.Config.model_fields)
    ],
)
@EVERYWHERE
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
    model = TransRec.from_backbone(
        fresh_backbone(tiny.BACKBONES["bert"] | {"model_type": "electra"}), ModelSpec(dim=16), 0
    )
    with pytest.raises(
        UserError,
        match=r"(?s)no anatomy for encoder type 'electra'.*anatomy.py.*\"electra\": Anatomy\(embeddings=.*ModuleList",
    ):
        model.add_adapter("a", AdapterConfig())


def test_three_domains_are_served_from_one_backbone_without_reload(tmp_path):
    """Saved one by one, loaded into one model, switched by name; each gives what it gave alone, and the
    base never changes.
    """
    methods, alone = {"books": "houlsby", "games": "dora", "films": "side"}, {}
    for name, method in methods.items():
        model = with_adapter("bert", method)
        tiny.stir(model.adapters, seed=len(name))
        alone[name] = scores(model, "bert")
        model.save_adapter(tmp_path / name, "a")
        assert f"A *{method}* adapter" in (tmp_path / name / "README.md").read_text()
    model = tiny.model("bert")
    base = {k: v.clone() for k, v in model.state_dict().items()}
    modules = {name: id(module) for name, module in model.named_modules()}
    for name in methods:
        model.load_adapter(tmp_path / name, name)
    for name in ("films", "books", "games", "books", "films"):
        model.set_adapter(name)
        assert torch.equal(scores(model, "bert"), alone[name])
    state = model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in base.items())
    assert all(
        id(model.get_submodule(name)) == known
        for name, known in modules.items()
        if not name.startswith("adapters")
    )


@pytest.mark.parametrize("method", ["houlsby", "side"])
@EVERYWHERE
def test_laws_1_2_3_and_7_hold_for_trained_embeddings(method, family, tmp_path):
    """Exactly a copy of the word table, or of the patch projection, trains as well; the pretrained one
    stays.
    """
    from transrec_core.data.batching import Batcher

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
