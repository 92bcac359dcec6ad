"""What makes training cheap changes nothing: frozen layers computed once, titles by length, parts,
recomputed activations.
"""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
import torch

from tests import tiny
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batcher
from transrec_core.data.catalog import Parts, TextCatalog, length_groups
from transrec_core.models import ModelSpec, TransRec, fresh_backbone
from transrec_core.training.inputs import ItemInputs
from transrec_core.training.memory import backward_in_parts, recompute_activations
from transrec_core.training.spec import TrainSpec
from transrec_core.training.trainer import fit

DEEP = {
    family: config | {"n_layers" if family == "distilbert" else "num_hidden_layers": 3}
    for family, config in tiny.BACKBONES.items()
}
EVERYWHERE = pytest.mark.parametrize("family", DEEP)


def deep_model(family: str, dropout: float = 0.0, **fields) -> TransRec:
    """Three layers, an adapter on some of them."""
    names = (
        ("dropout", "attention_dropout")
        if family == "distilbert"
        else ("hidden_dropout_prob", "attention_probs_dropout_prob")
    )
    backbone = fresh_backbone(DEEP[family] | dict.fromkeys(names, dropout), 0)
    model = TransRec.from_backbone(backbone, ModelSpec(dim=16, max_len=10, dropout=0.0, blocks=3), 0)
    if fields:
        model.add_adapter("a", AdapterConfig(**{"item_size": 8, "user_size": 4} | fields))
        tiny.stir(model.adapters)
        model.train_adapter("a")
    return model


def gradients(model: TransRec) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert found
    return found


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert torch.allclose(gradient, theirs[name], atol=1e-5, rtol=1e-5), name


def batch_of(domain, loss: str = "batch"):
    return Batcher(domain.split.train, "sasrec", loss, 32, 10, 0).batch(0)


@EVERYWHERE
@pytest.mark.parametrize(("layers", "below"), [([2], 2), ([1, 2], 1), ("all", 0)])
@pytest.mark.parametrize("method", ["houlsby", "lora", "prefix"])
def test_a_step_from_kept_states_is_the_same_step(family, layers, below, method, tmp_path):
    """With dropout in the backbone too: what can't change is in evaluation mode, kept or not. The seed
    makes the rest of the dropout equal.
    """
    model, domain = (
        deep_model(family, dropout=0.3, method=method, layers=layers).train(),
        tiny.domain(tiny.MODALITY[family]),
    )
    batch = batch_of(domain)
    assert model.frozen_layers() == below
    kept = ItemInputs(model, domain.catalog, tmp_path)
    features = kept(batch.items)
    assert (kept.states is not None) == (below > 0) == (kept.note is not None)
    found = []
    for inputs in (domain.catalog.batch(batch.items), features):
        torch.manual_seed(0)
        loss = model(inputs, batch)
        loss.backward()
        found.append((loss.detach(), gradients(model)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert_close(found[0][1], found[1][1])
    assert torch.allclose(kept.catalogue(), model.catalogue(domain.catalog), atol=1e-5)


@EVERYWHERE
@pytest.mark.parametrize("method", METHODS)
def test_no_adapter_is_taken_for_a_frozen_layer(family, method):
    """Whatever the adapter and wherever it is: item vectors from what is kept are those of the whole
    model, also after it was trained.
    """
    for layers, head in itertools.product(([1], [2], [0]), (True, False)):
        model = deep_model(family, method=method, layers=layers, train_head=head)
        kept = ItemInputs(model, tiny.catalog(tiny.MODALITY[family]))
        tiny.stir(model.adapters, seed=2)
        assert torch.allclose(kept.catalogue(), model.catalogue(kept.catalog), atol=1e-5), (layers, head)


def test_full_fine_tuning_of_some_layers_keeps_those_below():
    model = deep_model("bert")
    assert model.frozen_layers() == 0
    model.requires_grad_(False)
    assert model.backbone_is_fixed() and model.frozen_layers() == 3
    model.item_encoder.layers()[1].requires_grad_(True)
    assert model.frozen_layers() == 1
    model.item_encoder.backbone.embeddings.word_embeddings.requires_grad_(True)
    assert model.frozen_layers() == 0
    model = deep_model("bert", method="houlsby", layers=[2], train_embeddings=True)
    assert model.frozen_layers() == 0


@EVERYWHERE
def test_what_stands_in_for_layers_leaves_no_trace(family):
    model, catalog = (
        deep_model(family, method="houlsby", layers=[2]).eval(),
        tiny.catalog(tiny.MODALITY[family]),
    )
    before = model.catalogue(catalog)
    names = [name for name, _ in model.named_modules()]
    kept = ItemInputs(model, catalog)
    kept.catalogue()
    with pytest.raises(RuntimeError):  # not the shape of anything
        model.encode_items(
            {"states": torch.zeros(2, 3, 5), "below": 2, "attention_mask": torch.ones(2, 3, dtype=torch.long)}
        )
    assert torch.equal(model.catalogue(catalog), before)
    assert [name for name, _ in model.named_modules()] == names
    assert not any("forward" in vars(module) for module in model.modules())


def test_states_are_kept_once_for_what_they_depend_on_and_not_if_too_large(tmp_path):
    domain = tiny.domain("text")
    first = deep_model("bert", method="houlsby", layers=[2])
    ItemInputs(first, domain.catalog, tmp_path)
    other = deep_model("bert", method="lora", layers=[2])  # another adapter above the same frozen layers
    ItemInputs(other, domain.catalog, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 1
    with torch.no_grad():
        next(first.backbone_parameters()).add_(1)
    ItemInputs(first, domain.catalog, tmp_path)
    ItemInputs(first, tiny.catalog("text", seed=5), tmp_path)
    ItemInputs(first, domain.catalog, tmp_path, "fp16")
    ItemInputs(deep_model("bert", method="houlsby", layers=[1]), domain.catalog, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 5 and not list(tmp_path.glob("*.tmp"))
    small = ItemInputs(first, domain.catalog, tmp_path, limit_gb=1e-9)
    assert small.states is None and "training.cache_gb" in small.note
    assert torch.allclose(small.catalogue(), first.catalogue(domain.catalog))
    none = ItemInputs(first, domain.catalog, tmp_path, "off")
    assert none.states is None and none.note is None


def test_half_precision_is_close_and_half_as_large(tmp_path):
    model, catalog = deep_model("bert", method="houlsby", layers=[2]), tiny.catalog("text")
    single, half = (ItemInputs(model, catalog, tmp_path, cache) for cache in ("fp32", "fp16"))
    assert half.states.dtype == torch.float16 and half.states.shape == single.states.shape
    assert torch.allclose(half.catalogue(), single.catalogue(), atol=0.02)


def test_a_damaged_write_leaves_no_file(tmp_path, monkeypatch):
    model, catalog = deep_model("bert", method="houlsby", layers=[2]), tiny.catalog("text")

    def killed(self, items):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(ItemInputs, "_states_of", killed)
        ItemInputs(model, catalog, tmp_path)
    assert not list(tmp_path.glob("*.npy")) + list(tmp_path.glob(".*.tmp"))


def test_groups_by_length_are_a_partition_and_the_cheapest_one():
    rng = np.random.default_rng(0)
    for trial in range(40):
        lengths = rng.integers(1, 8, rng.integers(1, 30))
        overhead = float(rng.choice([0.5, 3, 10, 100]))
        groups = length_groups(lengths, overhead)
        assert sorted(np.concatenate(groups)) == list(range(len(lengths)))

        def cost(cuts, overhead=overhead, lengths=lengths):
            parts = np.split(np.sort(lengths), cuts)
            return sum(len(part) * part[-1] + overhead for part in parts)

        sizes = np.flatnonzero(np.diff(np.sort(lengths))) + 1
        every = [c for n in range(len(sizes) + 1) for c in itertools.combinations(sizes, n)]
        ours = sum(len(g) * lengths[g].max() + overhead for g in groups)
        assert ours == pytest.approx(min(cost(list(c)) for c in every)), trial


@pytest.mark.parametrize("loss", ["batch", "catalogue", "bce"])
def test_titles_by_length_give_the_same_loss_and_gradient(loss):
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 15, tiny.ITEMS + 1).astype(np.int32)
    tokens = np.where(np.arange(16) < lengths[:, None], rng.integers(5, 50, (tiny.ITEMS + 1, 16)), 0).astype(
        np.int32
    )
    domain = tiny.domain("text")
    domain.catalog = TextCatalog(tokens, lengths)
    model, batch = deep_model("bert"), batch_of(domain, loss)
    inputs = ItemInputs(model, domain.catalog)
    inputs._overhead = lambda: 1.0  # the tiny encoder would not be worth a cut
    features = inputs(batch.items)
    assert isinstance(features, Parts) and len(features.features) > 3
    found = []
    for given in (domain.catalog.batch(batch.items), features):
        value = model(given, batch)
        value.backward()
        found.append((value.detach(), gradients(model)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
    assert_close(found[0][1], found[1][1])


@EVERYWHERE
@pytest.mark.parametrize("loss", ["batch", "catalogue", "bce"])
@pytest.mark.parametrize("method", [None, "houlsby", "k_adapter", "side"])
def test_parts_and_recomputed_activations_give_the_same_gradient(family, loss, method):
    model = deep_model(family, **({"method": method} if method else {})).train()
    domain = tiny.domain(tiny.MODALITY[family])
    batch = batch_of(domain, loss)
    features = ItemInputs(model, domain.catalog, cache="off")
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
    parts = ItemInputs(model, domain.catalog)(batch.items, 3)
    torch.manual_seed(0)
    plain = model(parts, batch)
    plain.backward()
    expected = gradients(model)
    torch.manual_seed(0)
    assert torch.allclose(
        backward_in_parts(model, parts, batch, contextlib.nullcontext()), plain.detach(), atol=1e-5
    )
    assert_close(gradients(model), expected)


@pytest.mark.parametrize(
    "options", [{"accumulate": 3}, {"checkpointing": True}, {"cache": "off"}, {"precision": "bf16"}]
)
def test_training_with_each_option_goes_the_same_way(options):
    spec = TrainSpec(steps=4, min_steps=0, eval_every=2, batch_size=16)
    histories = []
    for given in ({}, options):
        model = deep_model("bert", method="houlsby", layers=[2])
        histories.append(
            fit(
                model, tiny.domain("text"), TrainSpec(**spec.model_dump() | given), 0, show_progress=False
            ).history
        )
    tolerance = 0.05 if "precision" in options else 1e-4
    assert [h["loss"] for h in histories[0][1:]] == pytest.approx(
        [h["loss"] for h in histories[1][1:]], abs=tolerance
    )


def test_checkpointing_ends_with_the_run_that_asked_for_it():
    model = deep_model("bert")
    for on in (True, False):
        fit(
            model,
            tiny.domain("text"),
            TrainSpec(steps=1, min_steps=0, checkpointing=on),
            0,
            show_progress=False,
        )
        assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules()) == on


def test_table_must_be_there_to_be_opened():
    with pytest.raises(ValueError, match="item encoder's embeddings"):
        AdapterConfig(encoders="user", train_embeddings=True)
    model = deep_model("bert")
    sites = [site for site in model.sites() if site.role != "table"]
    model.sites = lambda: sites
    with pytest.raises(UserError, match="names no 'table'"):
        model.add_adapter("a", AdapterConfig(train_embeddings=True))
