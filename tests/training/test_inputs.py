"""What makes training cheap changes nothing: frozen layers computed once, titles by length."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests import tiny
from tests.training.deep import DEEP, assert_close, batch_of, deep_model, gradients
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.errors import UserError
from transrec_core.data.catalog import TextCatalog
from transrec_core.data.parts import Parts, length_groups
from transrec_core.training.inputs import Content, LayerStates, PooledStates, item_inputs

EVERYWHERE = pytest.mark.parametrize("family", DEEP)


@pytest.mark.slow
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
    kept = item_inputs(model, domain.catalog, tmp_path)
    features = kept(batch.items)
    assert isinstance(kept, LayerStates) == (below > 0) == (kept.note is not None)
    steps = []
    for inputs in (domain.catalog.batch(batch.items), features):
        torch.manual_seed(0)
        loss = model(inputs, batch)
        loss.backward()
        steps.append((loss.detach(), gradients(model)))
    assert torch.allclose(steps[0][0], steps[1][0], atol=1e-5)
    assert_close(steps[0][1], steps[1][1])
    assert torch.allclose(kept.catalogue(), model.catalogue(domain.catalog), atol=1e-5)


@pytest.mark.slow
@EVERYWHERE
@pytest.mark.parametrize("method", METHODS)
def test_no_adapter_is_taken_for_a_frozen_layer(family, method):
    """Whatever the adapter and wherever it is: item vectors from what is kept are those of the whole
    model, also after it was trained.
    """
    for layers, head in itertools.product(([1], [2], [0]), (True, False)):
        model = deep_model(family, method=method, layers=layers, train_head=head)
        kept = item_inputs(model, tiny.catalog(tiny.MODALITY[family]))
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
    kept = item_inputs(model, catalog)
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
    item_inputs(first, domain.catalog, tmp_path)
    other = deep_model("bert", method="lora", layers=[2])  # another adapter above the same frozen layers
    item_inputs(other, domain.catalog, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 1
    with torch.no_grad():
        next(first.backbone_parameters()).add_(1)
    item_inputs(first, domain.catalog, tmp_path)
    item_inputs(first, tiny.catalog("text", seed=5), tmp_path)
    item_inputs(first, domain.catalog, tmp_path, "fp16")
    item_inputs(deep_model("bert", method="houlsby", layers=[1]), domain.catalog, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 5 and not list(tmp_path.glob("*.tmp"))
    small = item_inputs(first, domain.catalog, tmp_path, limit_gb=1e-9)
    assert type(small) is Content and "training.cache_gb" in small.note
    assert torch.allclose(small.catalogue(), first.catalogue(domain.catalog))
    none = item_inputs(first, domain.catalog, tmp_path, "off")
    assert type(none) is Content and none.note is None


def test_half_precision_is_close_and_half_as_large(tmp_path):
    model, catalog = deep_model("bert", method="houlsby", layers=[2]), tiny.catalog("text")
    single, half = (item_inputs(model, catalog, tmp_path, cache) for cache in ("fp32", "fp16"))
    assert half.states.dtype == torch.float16 and half.states.shape == single.states.shape
    assert torch.allclose(half.catalogue(), single.catalogue(), atol=0.02)


def test_a_damaged_write_leaves_no_file(tmp_path, monkeypatch):
    model, catalog = deep_model("bert", method="houlsby", layers=[2]), tiny.catalog("text")
    written = []

    def killed(self):
        written.append(len(list(tmp_path.glob(".*.tmp"))))
        yield self._states_of(torch.arange(1, 9))
        written.append(len(list(tmp_path.glob(".*.tmp"))))
        raise KeyboardInterrupt

    kept = LayerStates(model, catalog, "fp32")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LayerStates, "_blocks", killed)
        kept.keep(tmp_path)
    assert written == [0, 1]  # there was something to leave behind
    assert not list(tmp_path.glob("*.npy")) + list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("method", [None, "side"])
def test_pooled_states_give_the_vectors_of_the_whole_model(method, tmp_path):
    model, catalog = deep_model("bert", **({"method": method} if method else {})), tiny.catalog("text")
    if method is None:
        model.requires_grad_(False)
        model.item_encoder.projection.requires_grad_(True)
    kept = item_inputs(model, catalog, tmp_path)
    every = ", 4, 16" if method else ", 16"
    assert isinstance(kept, PooledStates) and f"{tuple(kept.pooled.shape)}" == f"(41{every})"
    assert kept.pooled.numel() * 4 == kept.bytes
    assert (
        kept.note == f"pooled states{' of all layers' if method else ''} of 40 items (0.0 MB) computed once"
    )
    assert torch.allclose(kept.catalogue(), model.catalogue(catalog), atol=1e-5)
    assert len(list(tmp_path.glob("*.npy"))) == 1


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
    inputs = item_inputs(model, domain.catalog)
    inputs._overhead = lambda: 1.0  # the tiny encoder would not be worth a cut
    features = inputs(batch.items)
    assert isinstance(features, Parts) and len(features.features) > 3
    steps = []
    for given in (domain.catalog.batch(batch.items), features):
        value = model(given, batch)
        value.backward()
        steps.append((value.detach(), gradients(model)))
    assert torch.allclose(steps[0][0], steps[1][0], atol=1e-5)
    assert_close(steps[0][1], steps[1][1])


def test_table_must_be_there_to_be_opened():
    with pytest.raises(ValueError, match="item encoder's embeddings"):
        AdapterConfig(encoders="user", train_embeddings=True)
    model = deep_model("bert")
    sites = [site for site in model.sites() if site.role != "table"]
    model.sites = lambda: sites
    with pytest.raises(UserError, match="names no 'table'"):
        model.add_adapter("a", AdapterConfig(train_embeddings=True))
