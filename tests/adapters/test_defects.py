"""Beyond the laws: goldens of independent implementations, gradients against finite differences, and the
released code's defects.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests import tiny
from tests.goldens.compare import difference, names
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.adapters.base import Trace
from transrec_core.adapters.methods.dora import DoRA
from transrec_core.base.errors import UserError
from transrec_core.data.batching import Batcher
from transrec_core.models import ModelSpec, TransRec, fresh_backbone

SMALL = {"item_size": 8, "user_size": 4, "encoders": "both"}


@pytest.mark.parametrize("name", names())
def test_golden(name):
    """Equal outputs to 1e-5 with the parameters of an independent implementation, whose adapter does
    change the output.
    """
    off, effect = difference(name)
    assert off <= 1e-5 and effect > 0.1


def test_every_method_that_a_library_has_has_a_golden():
    elsewhere = {
        "houlsby",
        "pfeiffer",
        "parallel",
        "compacter",
        "prefix",
        "prompt",
        "lora",
        "rslora",
        "dora",
        "ia3",
    }
    assert {name.split("-")[1] for name in names()} == elsewhere <= set(METHODS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["bert", "vit"])
def test_gradients_agree_with_finite_differences(method, family):
    """Each parameter of each adapter, in float64, through the whole model."""
    model, domain = tiny.model(family), tiny.domain(tiny.MODALITY[family])
    model.add_adapter("a", AdapterConfig(method=method, activation="tanh", dropout=0.0, **SMALL))
    tiny.stir(model.adapters, std=0.2)
    model.double().train_adapter("a")
    batch = Batcher(domain.split.train, "sasrec", "catalogue", 8, 10, 0).batch(0)
    features = {
        k: v.double() if v.is_floating_point() else v for k, v in domain.catalog.batch(batch.items).items()
    }

    def loss() -> torch.Tensor:
        return model(features, batch)

    parameters = dict(model.adapters["a"].named_parameters())
    gradients = dict(zip(parameters, torch.autograd.grad(loss(), list(parameters.values())), strict=True))
    generator, step = torch.Generator().manual_seed(0), 1e-6
    for name, parameter in parameters.items():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            held = parameter.clone()
            parameter.copy_(held + step * direction)
            up = loss()
            parameter.copy_(held - step * direction)
            down = loss()
            parameter.copy_(held)
        numeric, exact = float((up - down) / (2 * step)), float((gradients[name] * direction).sum())
        if method == "dora" and name.endswith((".a", ".b")):
            # DoRA takes the norm as a constant, so A and B have another gradient on purpose: see the next
            # test
            continue
        assert exact == pytest.approx(numeric, rel=1e-5, abs=1e-8), name


def test_doras_gradient_is_the_one_with_a_constant_norm():
    torch.manual_seed(0)
    linear = nn.Linear(6, 5).double()
    adapter = DoRA(linear, 3, AdapterConfig(method="dora")).double()
    tiny.stir(adapter)
    x = torch.randn(4, 6, dtype=torch.float64)
    norm = (linear.weight + adapter.update()).norm(dim=1).detach()

    def constant(a, b, magnitude):
        weight = (magnitude / norm)[:, None] * (linear.weight + adapter.scale * b @ a)
        return x @ weight.T + linear.bias

    parts = [adapter.a, adapter.b, adapter.magnitude]
    ours, explicit = adapter(x, linear(x)), constant(*parts)
    assert torch.allclose(ours, explicit)
    weights = torch.randn_like(ours)
    for first, second in zip(
        torch.autograd.grad(ours, parts, weights), torch.autograd.grad(explicit, parts, weights), strict=True
    ):
        assert torch.allclose(first, second)


# --- One test for each defect of the released code, named after it. Each was seen to fail with the defect put
# in (see CONTRIBUTING). ---


def _adapted(method: str, family: str = "bert", **fields) -> TransRec:
    model = tiny.model(family)
    model.add_adapter("a", AdapterConfig(method=method, **(SMALL | fields)))
    return model


@pytest.mark.parametrize("family", tiny.BACKBONES)
@pytest.mark.parametrize("method", ["lora", "rslora", "dora"])
def test_defect_lora_replaces_the_pretrained_projection(method, family):
    """The released code puts a fresh layer in place of query and value. Here the pretrained module is the
    same object with the same weights.
    """
    plain, model = tiny.model(family), tiny.model(family)
    before = {site.path: site.module for site in model.sites()}
    model.add_adapter("a", AdapterConfig(method=method, **SMALL))
    assert all(site.module is before[site.path] for site in model.sites())
    state = plain.state_dict()
    assert all(
        torch.equal(value, state[key])
        for key, value in model.state_dict().items()
        if not key.startswith("adapters.")
    )
    for encoder in ("item", "user"):
        assert any(
            key.startswith(f"{encoder}_encoder") and "projection" not in key for key in model.adapters["a"]
        )
    items = torch.randn(2, 5, 16)
    assert torch.equal(model.eval().encode_users(items), plain.eval().encode_users(items))


@pytest.mark.parametrize("n_tokens", [2, 8, 12])
@pytest.mark.parametrize("method", ["prompt", "prefix"])
def test_defect_soft_prompt_cuts_the_title(method, n_tokens):
    """The released code cuts the first n tokens off the title. Here two titles that differ in any one
    token have different vectors.
    """
    model = _adapted(method, item_size=n_tokens)
    features = tiny.catalog("text").batch(torch.arange(1, 5))
    with torch.no_grad():
        vectors = model.eval().encode_items(features)
        for place in range(int(features["attention_mask"][0].sum())):
            changed = features["input_ids"].clone()
            changed[0, place] = 5 + (changed[0, place] - 4) % 45
            other = model.encode_items(dict(features, input_ids=changed))
            assert not torch.allclose(vectors[0], other[0], atol=1e-7)
            assert torch.equal(vectors[1:], other[1:])


@pytest.mark.parametrize("training", [True, False])
def test_defect_k_adapter_looks_into_the_future(training):
    """The released code gives the adapter's transformers no mask. Here position t has no gradient from
    later items, in training too.
    """
    model = _adapted("k_adapter", encoders="user")
    tiny.stir(model.adapters)
    model.train(training)
    items = torch.randn(2, 8, 16, requires_grad=True)
    users = model.encode_users(items)
    for t in range(7):
        (gradient,) = torch.autograd.grad(users[:, t].sum(), items, retain_graph=True)
        assert not gradient[:, t + 1 :].any() and gradient[:, t].any()


def test_defect_k_adapter_reads_padding():
    """... nor does a title's adapter read its padding."""
    adapter = _adapted("k_adapter").adapters["a"]["item_encoder/states"]
    tiny.stir(adapter)
    states = tuple(torch.randn(2, 6, 16) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])
    changed = tuple(state.clone() for state in states)
    for state in changed:
        state[0, 4:] += 1
    before, after = (adapter(Trace(found, found[-1], mask, False), states[-1]) for found in (states, changed))
    assert torch.allclose(before[0, :4], after[0, :4], atol=1e-6)


@pytest.mark.parametrize("family", tiny.BACKBONES)
def test_defect_compacter_has_no_skip_connection(family):
    """The released code's sublayers start near zero. Here what comes out of an adapted sublayer is what
    the sublayer computed.
    """
    model = _adapted("compacter", family)
    for key, adapter in model.adapters["a"].items():
        if key != "shared" and "projection" not in key:
            y = torch.randn(3, 4, 16)
            assert torch.equal(adapter(None, y), y)
            adapter.requires_grad_(False)
            tiny.stir(adapter, std=1e-3)
            assert torch.allclose(adapter(None, y), y, atol=0.1)


@pytest.mark.parametrize("position", ["attention", "ffn"])
@pytest.mark.parametrize("family", tiny.BACKBONES)
def test_defect_parallel_adapter_adds_its_input_twice(position, family):
    """The released block adds its input, then the residual adds it again. Here the correction is the
    bottleneck's alone.
    """
    model = _adapted("parallel", family, position=position)
    for key, adapter in model.adapters["a"].items():
        if "projection" not in key:
            x, y = torch.randn(3, 4, 16), torch.randn(3, 4, 16)
            assert torch.equal(adapter(x, y), y)  # at the start the input x adds nothing
            tiny.stir(adapter)
            bottleneck = adapter.up(adapter.activation(adapter.down(x)))
            assert torch.allclose(adapter(x, y), y + adapter.scale * bottleneck, atol=1e-6)


def test_defect_pfeiffer_sits_after_the_attention():
    """The released script ships one adapter after the attention. Pfeiffer's is after the feed-forward
    sublayer; the other is a placement.
    """
    inside = [key for key in _adapted("pfeiffer").adapters["a"] if "projection" not in key]
    assert inside and not any("attention" in key for key in inside)
    placed = [
        key for key in _adapted("pfeiffer", position="attention").adapters["a"] if "projection" not in key
    ]
    assert placed and all("attention" in key for key in placed)


def test_a_side_network_sends_no_gradient_through_the_backbone():
    model = _adapted("side", encoders="item")
    model.train_adapter("a")
    assert model.backbone_is_fixed()
    seen = []
    model.item_encoder.readout.register_forward_pre_hook(
        lambda module, args: seen.append(args[0].requires_grad)
    )
    catalog = tiny.catalog("text")
    model.encode_items(catalog.batch(torch.arange(1, 5))).sum().backward()
    assert seen == [False]
    cached = model.pooled_catalogue(catalog)
    assert cached.shape == (tiny.ITEMS + 1, 3, 16)
    with torch.no_grad():
        tiny.stir(model.adapters)
        direct = model.eval().encode_items(catalog.batch(torch.arange(1, 5)))
        assert torch.allclose(model.encode_items({"pooled": cached[1:5]}), direct, atol=1e-6)


def test_prefix_works_beside_relative_positions_and_prompts_say_why_not():
    config = tiny.BACKBONES["beit"] | {"use_relative_position_bias": True}
    model = TransRec.from_backbone(fresh_backbone(config, 0), ModelSpec(dim=16), 0).eval()
    model.add_adapter("a", AdapterConfig(method="prefix", **SMALL))
    features = tiny.catalog("image").batch(torch.arange(1, 4))
    with torch.no_grad():
        prefixed = model.encode_items(features)
        with model.adapters_disabled():
            assert not torch.allclose(model.encode_items(features), prefixed)
    with pytest.raises(UserError, match="use method 'prefix'"):
        model.add_adapter("b", AdapterConfig(method="prompt", **SMALL))
