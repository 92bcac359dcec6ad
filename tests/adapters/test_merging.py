"""Merging: what can be merged, and what is refused meanwhile."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import tiny
from tests.adapters.helpers import LINEAR, scores, with_adapter
from transrec_core.adapters import METHODS
from transrec_core.base.errors import UserError


@pytest.mark.parametrize("method", [m for m in METHODS if m not in LINEAR])
def test_merging_what_is_not_linear_is_refused_and_changes_nothing(method):
    model = with_adapter("bert", method)
    with pytest.raises(UserError, match="not linear"):
        model.merge_adapter("a")
    model.disable_adapters()
    assert torch.equal(scores(model, "bert"), scores(tiny.model("bert"), "bert"))


def test_while_an_adapter_is_merged_nothing_takes_its_weights_for_the_base(tmp_path):
    """Each of these was silent once: the adapter acted twice, or the next one was built on merged weights."""
    model = with_adapter("bert", "lora")
    model.add_adapter("b", {"method": "dora", "rank": 4})
    model.save_adapter(tmp_path, "b")
    model.set_adapter("a")
    model.merge_adapter("a")
    merged = scores(model, "bert")
    calls = {
        "set_adapter": lambda: model.set_adapter("a"),
        "add_adapter": lambda: model.add_adapter("c", "houlsby"),
        "delete_adapter": lambda: model.delete_adapter("b"),
        "disable_adapters": model.disable_adapters,
        "merge_adapter": lambda: model.merge_adapter("b"),
        "load_adapter": lambda: model.load_adapter(tmp_path, "c"),
        "save_pretrained": lambda: model.save_pretrained(tmp_path / "model"),
    }
    for action, call in calls.items():
        with pytest.raises(
            UserError, match=rf"^{action}: adapter 'a' is merged .* unmerge_adapter\(\) first"
        ):
            call()
    with pytest.raises(UserError, match="train_adapter|set_adapter"):
        model.train_adapter("a")
    with pytest.raises(UserError, match="is merged"), model.adapters_disabled():
        pass
    assert torch.equal(scores(model, "bert"), merged) and set(model.adapters) == {"a", "b"}
    assert not (tmp_path / "model").exists()
    model.unmerge_adapter()
    model.add_adapter("c", {"method": "dora", "rank": 4})  # fresh, so that it changes nothing
    assert torch.equal(scores(model, "bert"), scores(tiny.model("bert"), "bert"))


def test_a_merged_adapter_is_saved_as_ever_and_keeps_its_base(tmp_path):
    model = with_adapter("bert", "ia3")
    separate = scores(model, "bert")
    base = model.base_hash()
    model.merge_adapter("a")
    assert model.base_hash() == base == tiny.model("bert").base_hash()
    model.save_adapter(tmp_path, "a")
    again = tiny.model("bert")
    again.load_adapter(tmp_path, "a")
    assert torch.equal(scores(again, "bert"), separate)


def test_one_of_a_stack_is_not_merged_in_silence():
    model = with_adapter("bert", "lora")
    model.add_adapter("b", "houlsby")
    model.set_adapter(["a", "b"])
    before = scores(model, "bert")
    with pytest.raises(UserError, match=r"adapters a, b act together .*set_adapter\('a'\) first"):
        model.merge_adapter("a")
    with pytest.raises(UserError, match="no adapter 'c'"):
        model.merge_adapter("c")
    assert torch.equal(scores(model, "bert"), before) and model.active_adapters == ("a", "b")


def test_a_copy_of_a_merged_model_can_be_unmerged():
    model = with_adapter("bert", "lora")
    model.merge_adapter("a")
    twin = copy.deepcopy(model)
    twin.unmerge_adapter()
    assert torch.equal(scores(twin, "bert"), scores(tiny.model("bert"), "bert"))
    assert model.merged_adapter == "a" and not torch.equal(scores(model, "bert"), scores(twin, "bert"))
