"""Several adapters on one model: switched, stacked, averaged, copied, deleted."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import ALL, FAMILY, PROMPTS, SMALL, families, scores, with_adapter
from transrec_core.adapters import METHODS, AdapterConfig
from transrec_core.base.errors import UserError


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
@families("bert")
def test_a_copied_model_has_adapters_of_its_own(method, family):
    model = with_adapter(family, method)
    before, twin = scores(model, family), copy.deepcopy(model)
    assert torch.equal(scores(twin, family), before)
    tiny.stir(model.adapters, seed=3)
    assert torch.equal(scores(twin, family), before) and not torch.allclose(scores(model, family), before)
    twin.delete_adapter("a")
    assert torch.equal(scores(twin, family), scores(tiny.model(family), family))


@pytest.mark.parametrize("first", METHODS)
@FAMILY
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


def test_soft_prompts_are_not_averaged():
    model = with_adapter("bert", "prompt")
    model.add_adapter("b", AdapterConfig(method="prefix", **SMALL))
    model.set_adapter(["a", "b"])
    with pytest.raises(UserError, match="no mean to take"):
        model.set_adapter(["a", "b"], combine="average")
    assert model.combine == "stack"


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
