"""The table of where things sit in a backbone: what it finds, and what it refuses."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests import tiny
from transrec_core.adapters import AdapterConfig
from transrec_core.adapters.anatomy import ANATOMY, ROLES, anatomy_of, levels, target_pattern
from transrec_core.base.errors import UserError

FAMILIES = pytest.mark.parametrize("family", tiny.BACKBONES)


@FAMILIES
def test_levels_are_the_embeddings_and_the_layers_from_the_bottom(family):
    backbone = tiny.model(family).item_encoder.backbone
    paths = [path for path, _ in levels(backbone, family)]
    layers = ANATOMY[family].layers
    assert paths == [ANATOMY[family].embeddings, f"{layers}.0", f"{layers}.1"]
    assert all(backbone.get_submodule(path) is module for path, module in levels(backbone, family))
    assert anatomy_of("unheard-of") is None and levels(backbone, "unheard-of") == []


@FAMILIES
@pytest.mark.parametrize("role", ROLES)
def test_target_pattern_means_the_modules_of_a_role_and_no_other(family, role):
    model = tiny.model(family)
    pattern = re.compile(target_pattern(family, role))
    paths = {name for name, _ in model.item_encoder.backbone.named_modules() if pattern.fullmatch(name)}
    sites = [site for site in model.sites() if site.encoder == "item" and site.role == role]
    assert paths == {site.path.removeprefix("item_encoder.backbone.") for site in sites} and len(paths) == 2


def test_one_module_for_two_roles_is_refused_in_one_line(monkeypatch):
    """ModernBERT computes query, key and value at once: an update of the query would be one of all three."""
    model = tiny.model("bert")
    fused = dict.fromkeys(("query", "key", "value"), "attention.self.query")
    monkeypatch.setitem(ANATOMY, "bert", dataclasses.replace(ANATOMY["bert"], **fused))
    for method in ("lora", "houlsby", "prompt"):
        with pytest.raises(UserError, match="one module 'attention.self.query' for query and key") as refused:
            model.add_adapter("a", AdapterConfig(method=method))
        assert "\n" not in str(refused.value) and "'full' or 'head'" in str(refused.value)
    assert model.frozen_layers() == 0 and not model.adapters
