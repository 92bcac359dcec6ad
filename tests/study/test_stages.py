"""What a run is made of: what can't work is told before anything is trained."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from transrec_core.base.errors import UserError
from transrec_core.models import fresh_backbone
from transrec_core.study import stages
from transrec_core.study.specs import RunSpec
from transrec_core.study.store import Store


@pytest.mark.parametrize(
    ("family", "adapter", "message"),
    [
        ("mpnet", {"method": "houlsby"}, "no anatomy for encoder type 'mpnet'"),
        ("bert", {"method": "lora", "item_size": 17}, "rank 17 is larger"),
        ("bert", {"method": "houlsby", "layers": [1], "encoders": "item"}, "layer 1 does not exist"),
    ],
)
def test_an_adapter_that_the_encoder_cant_have_is_told_before_the_source_stage(
    family, adapter, message, tmp_path, monkeypatch
):
    fresh_backbone((tiny.STRANGERS | tiny.BACKBONES)[family], 0).save_pretrained(tmp_path / "encoder")
    monkeypatch.setattr(stages, "fit", lambda *args, **kwargs: pytest.fail("the source stage was begun"))
    spec = RunSpec(
        encoder=str(tmp_path / "encoder"), strategy="adapter", adapter=adapter, model={"encoder_layers": 1}
    )
    with pytest.raises(UserError, match=message):
        stages.source_model(spec, Store(tmp_path / "runs"), tmp_path)


def test_that_an_adapter_was_tried_leaves_the_source_stage_as_it_is(tmp_path):
    fresh_backbone(tiny.BACKBONES["bert"], 0).save_pretrained(tmp_path / "encoder")
    plain = RunSpec(encoder=str(tmp_path / "encoder"))
    adapted = plain.model_copy(
        update={
            "strategy": "adapter",
            "adapter": RunSpec(strategy="adapter", adapter={"method": "houlsby"}).adapter,
        }
    )
    outcomes = []
    for spec in (plain, adapted):
        model = stages.initial_model(spec, Store(tmp_path / "runs"), tmp_path)
        outcomes.append((model.state_dict(), torch.rand(3)))
    assert outcomes[0][0].keys() == outcomes[1][0].keys() and torch.equal(outcomes[0][1], outcomes[1][1])
    assert all(torch.equal(value, outcomes[1][0][name]) for name, value in outcomes[0][0].items())


@pytest.mark.parametrize("family", ["beit", "dinov2", "bert"])
def test_the_untrained_control_is_cut_like_the_encoder(family, tmp_path):
    fields = (tiny.STRANGERS | tiny.BACKBONES)[family]
    fresh_backbone(fields | {"num_hidden_layers": 3}, 0).save_pretrained(tmp_path / "encoder")
    data = {"modality": tiny.MODALITY[family]}
    spec = RunSpec(
        target=data,
        source={"data": data | {"folder": "world:source"}},
        encoder=str(tmp_path / "encoder"),
        model={"encoder_layers": 2},
    )
    models = [stages.initial_model(spec, Store(tmp_path), tmp_path, untrained=flag) for flag in (False, True)]
    trained, untrained = (dict(model.item_encoder.backbone.named_parameters()) for model in models)
    assert [tuple(p.shape) for p in trained.values()] == [tuple(p.shape) for p in untrained.values()]
    assert any(not torch.equal(value, untrained[name]) for name, value in trained.items())
    assert models[1].item_encoder.backbone.config.num_hidden_layers == 2
