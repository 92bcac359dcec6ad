"""Laws 1-7 of adapters, for every method on text, picture and user encoders, with both objectives."""

from __future__ import annotations

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tests import tiny
from tests.adapters.helpers import ALL, EVERYWHERE, LINEAR, OBJECTIVES, PROMPTS, SMALL, scores, with_adapter
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.data.batching import Batcher
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.training.spec import StepSizes, TrainSpec
from transrec_core.training.trainer import fit


@ALL
@EVERYWHERE
@pytest.mark.parametrize("objective", ["sasrec", pytest.param("cpc", marks=pytest.mark.slow)])
def test_law_1_training_an_adapter_leaves_the_base_bit_equal(method, family, objective):
    model = with_adapter(family, method, objective, stirred=False, train_layernorm=True)
    base = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith("adapters.")}
    start = {k: v.clone() for k, v in model.adapters.state_dict().items()}
    model.train_adapter("a")
    spec = TrainSpec(steps=3, min_steps=0, eval_every=3, batch_size=16, lr=StepSizes(adapter=0.1, head=0.1))
    moved = set()  # seen after each step, since the best state, which is given back, may be the start

    def after_a_step(*ignored):
        moved.update(k for k, v in model.adapters.state_dict().items() if not torch.equal(v, start[k]))

    handle = register_optimizer_step_post_hook(after_a_step)
    try:
        fit(model, tiny.domain(tiny.MODALITY[family]), spec, 0, show_progress=False)
    finally:
        handle.remove()
    after = model.state_dict()
    assert all(torch.equal(base[k], after[k]) for k in base)
    assert moved == set(start)


@ALL
@EVERYWHERE
def test_every_adapter_parameter_is_reached_by_the_loss(method, family):

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
@pytest.mark.parametrize("pooling", ["cls", pytest.param("mean", marks=pytest.mark.slow)])
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
